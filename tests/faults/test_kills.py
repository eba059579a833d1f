"""Jobs in flight while every process, including the server, is killed with -9: nothing is lost or done twice."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from avtomatika.errors import AvtomatikaError
from avtomatika.store import Store

from ..support.installation import PROGRAMS, Installation
from ..support.scale import SCALE
from .checker import violations
from .three import STATES

#: The worker runs about eight jobs a second: they outlast the kills.
JOBS = min(100 * SCALE, 500)
ROUNDS = min(3 * SCALE, 15)

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240 + 20 * ROUNDS)]


def create_jobs(installation: Installation, ids: dict[int, str]) -> None:
    """Request every job until it is confirmed; the idempotency key makes retries harmless."""
    client = installation.client()
    for n in range(JOBS):
        while n not in ids:
            try:
                ids[n] = client.submit("three", {"n": n}, idempotency_key=f"job-{n}")["job_id"]
            except AvtomatikaError:
                sleep(0.1)


def unfinished(store: Store, ids: dict[int, str]) -> int:
    """Return the number of running jobs once the server responds."""
    while True:
        try:
            jobs = store.load_many(list(ids.values()))
        except AvtomatikaError:
            sleep(0.1)
        else:
            return sum(job is None or not job.status.is_final for job in jobs)


def wait_for_ends(store: Store, ids: dict[int, str], within_seconds: float) -> None:
    deadline = monotonic() + within_seconds
    while unfinished(store, ids) and monotonic() < deadline:
        sleep(0.2)


def found_violations(store: Store, ids: dict[int, str]) -> list[str]:
    return [
        text for n, job_id in ids.items() for text in violations(store, job_id, states=STATES, result={"sum": 3 * n})
    ]


def test_every_job_ends_rightly_whoever_is_killed(make_server: Callable[..., Any], tmp_path: Path) -> None:
    server = make_server(appendfsync="always")
    ids: dict[int, str] = {}
    under_way = []
    with Installation(server.url, tmp_path) as installation, closing(Store.connect(server.url)) as store:
        creator = threading.Thread(target=create_jobs, args=(installation, ids))
        creator.start()
        for _ in range(ROUNDS):
            for role in ("orchestrator", "worker", "web", "server"):
                sleep(1.0)
                under_way.append(unfinished(store, ids))
                if role == "server":
                    server.kill()
                    server.start()
                else:
                    installation.restart(role)
        creator.join(timeout=60)
        wait_for_ends(store, ids, within_seconds=60 + JOBS / 5)
        found = found_violations(store, ids)
        print(f"{len(ids)} jobs, {4 * ROUNDS} kills, the server's among them: {len(found)} violations")

    assert len(ids) == JOBS
    assert min(under_way) > 0, f"jobs under way at each kill: {under_way}: the storm came when all was over"
    assert found == []


def test_the_checker_finds_a_commit_that_is_split_in_two(make_server: Callable[..., Any], tmp_path: Path) -> None:
    server = make_server(appendfsync="always")
    ids: dict[int, str] = {}
    split = [sys.executable, str(PROGRAMS / "split_orchestrator.py")]
    with (
        Installation(server.url, tmp_path, orchestrator=split) as installation,
        closing(Store.connect(server.url)) as store,
    ):
        creator = threading.Thread(target=create_jobs, args=(installation, ids))
        creator.start()
        for _ in range(8):
            sleep(0.7)
            installation.restart("orchestrator")
        creator.join(timeout=60)
        wait_for_ends(store, ids, within_seconds=20)
        found = found_violations(store, ids)

    assert found, "a commit in two halves went through eight kills without a trace: the checker does not look"
