"""Fan-outs of 200 child jobs and 100 tasks, with kill -9 of orchestrators, workers and the server: each child runs once
and is joined once, and a cancelled parent leaves no child."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from avtomatika.core.signing import GroupSecret
from avtomatika.store import JobFilter, Store

from ..support.installation import SECRET_KEY, Installation
from ..support.scale import SCALE, chance
from ..support.waiting import wait_until
from .checker import violations
from .reunion import CHILDREN, TASKS
from .test_kills import unfinished, wait_for_ends

KILLS = min(12 * SCALE, 40)
#: Kills while one parent runs.
KILLS_A_PARENT = 4

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300 + 20 * KILLS)]


def found_violations(store: Store, n: int, job_id: str) -> list[str]:
    expected = sum(n + place for place in range(CHILDREN)) + TASKS * n
    found = violations(store, job_id, states=["split", "collect"], result={"sum": expected})
    history, _ = store.history(job_id, limit=10_000)
    entries = [recorded.entry for recorded in history]
    for kind, count in {"child_started": CHILDREN, "branch_finished": CHILDREN + TASKS}.items():
        tasks = Counter(entry.task_id for entry in entries if entry.event_type == kind)
        if len(tasks) != count or set(tasks.values()) != {1}:
            found.append(f"{job_id}: {kind} of {len(tasks)} branches, the most often: {tasks.most_common(1)}")
    for place in range(CHILDREN):
        child_id = f"{job_id}-1-{place + 1}"
        found += violations(store, child_id, states=["arrive", "leave"], result={"sum": n + place})
    return found


def test_each_child_runs_once_and_is_joined_once_whoever_is_killed(
    make_server: Callable[..., Any], tmp_path: Path
) -> None:
    dice = chance("child branches")
    server = make_server(appendfsync="always")
    ids: dict[int, str] = {}
    with (
        Installation(server.url, tmp_path, blueprint="reunion") as installation,
        closing(Store.connect(server.url, secret=GroupSecret(SECRET_KEY))) as store,
    ):
        installation.also("orchestrator2", like="orchestrator")
        client = installation.client()
        for kill in range(KILLS):
            if kill % KILLS_A_PARENT == 0:
                wait_until(lambda: unfinished(store, ids) <= 1, 120, "the end of most parents")
                ids[kill] = client.submit("reunion", {"n": kill})["job_id"]
            sleep(dice.uniform(0, 1.5))
            role = dice.choice(["orchestrator", "orchestrator2", "worker", "server"])
            if role == "server":
                server.kill()
                server.start()
            else:
                installation.restart(role)
        wait_for_ends(store, ids, within_seconds=180)
        found = [text for n, job_id in ids.items() for text in found_violations(store, n, job_id)]
        total = store.count_by_status(JobFilter(blueprint="guest")).total
        cancelled = client.submit("reunion", {"n": 7})["job_id"]
        wait_until(lambda: store.load(f"{cancelled}-1-{CHILDREN}") is not None, 60, "the children of the last parent")
        client.cancel(cancelled)
        installation.restart(dice.choice(["orchestrator", "orchestrator2"]))
        children = [f"{cancelled}-1-{place + 1}" for place in range(CHILDREN)]
        wait_until(lambda: all(job and job.status.is_final for job in store.load_many(children)), 60, "no open child")
        print(f"{len(ids)} parents, {KILLS} kills: {len(found)} violations")

    assert found == []
    assert total == len(ids) * CHILDREN
