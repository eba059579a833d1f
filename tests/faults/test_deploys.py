"""Old and new code are deployed with kill -9 while jobs run: every job ends correctly, under any plan."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from avtomatika.core.signing import GroupSecret
from avtomatika.store import Store

from ..support.installation import SECRET_KEY, Installation
from ..support.scale import chance
from ..support.waiting import wait_until
from .test_mixed import JOBS, KILLS, Demand, Storm, approve_all, found_violations, under_way

VERSIONS = ("mixed", "mixed_next")
#: Each restarts three processes.
DEPLOYS = KILLS // 2

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300 + 10 * KILLS)]


def changes(store: Store, ids: dict[int, str]) -> int:
    """Return the number of plan changes of jobs."""
    histories = (store.history(job_id, limit=10_000)[0] for job_id in ids.values())
    return sum(each.entry.event_type == "plan_changed" for history in histories for each in history)


def test_every_job_ends_rightly_whichever_version_serves_it(make_server: Callable[..., Any], tmp_path: Path) -> None:
    dice = chance("deploys")
    server = make_server(appendfsync="always")
    ids: dict[int, str] = {}
    with (
        Installation(server.url, tmp_path, blueprint="mixed", PLAN_TAKEOVER_SECONDS="1") as installation,
        closing(Store.connect(server.url, secret=GroupSecret(SECRET_KEY))) as store,
    ):
        installation.also("second", like="orchestrator", BLUEPRINTS="mixed_next")
        demand = Demand(installation.client(), ids)
        storms = [Storm(demand.create), Storm(approve_all(store))]
        for storm in storms:
            storm.start()
        for deploy in range(DEPLOYS):
            demand.due = (deploy + 1) * JOBS // DEPLOYS
            wait_until(lambda: under_way(store, ids), 60, "jobs under way")
            for role in dice.sample(["orchestrator", "second", "web"], 3):
                sleep(dice.uniform(0, 1.0))
                installation.restart(role, BLUEPRINTS=VERSIONS[(deploy + 1) % 2])
            sleep(dice.uniform(1.0, 2.0))  # often long enough for jobs to be taken over
        deadline = monotonic() + 120
        while (len(ids) < JOBS or under_way(store, ids)) and monotonic() < deadline:
            sleep(0.2)
        for storm in storms:
            storm.stop()
        found = list(found_violations(store, ids))
        changed = changes(store, ids)
        print(f"{len(ids)} jobs, {DEPLOYS} deploys, {changed} changes of plan: {len(found)} violations")

    assert len(ids) == JOBS
    assert changed > 0, "no job ever changed its plan"
    assert found == []
