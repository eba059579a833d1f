"""Fan-outs, timers, approvals and children in flight, with a kill -9 about every second: all end correctly."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from avtomatika.client import Client
from avtomatika.core.signing import GroupSecret
from avtomatika.errors import AvtomatikaError
from avtomatika.store import JobFilter, Store

from ..support.installation import SECRET_KEY, Installation
from ..support.scale import SCALE, chance
from ..support.waiting import wait_until
from .checker import violations
from .mixed import result_of, states_of

#: Before each kill, so many jobs are created; a job takes seconds.
JOBS_PER_KILL = 8
KILLS = min(14 * SCALE, 40)
JOBS = KILLS * JOBS_PER_KILL

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300 + 10 * KILLS)]


class Storm(threading.Thread):
    """A thread that runs during the kills until :meth:`stop`, and retries while a process is down."""

    def __init__(self, body: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._body = body
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            with suppress(AvtomatikaError):
                self._body()
            self._over.wait(0.2)

    def stop(self) -> None:
        self._over.set()
        self.join(timeout=60)


class Demand:
    """Creates *due* jobs, also while a web process is down."""

    def __init__(self, client: Client, ids: dict[int, str]) -> None:
        self._client = client
        self._ids = ids
        self.due = JOBS_PER_KILL

    def create(self) -> None:
        for n in range(self.due):
            if n not in self._ids:
                self._ids[n] = self._client.submit("mixed", {"n": n}, idempotency_key=f"job-{n}")["job_id"]


def approve_all(store: Store) -> Callable[[], None]:
    """Approve every request."""

    def approve() -> None:
        for job in store.list_jobs(JobFilter(status="waiting_for_human", limit=200))[0]:
            with suppress(AvtomatikaError):
                store.decide(job, "approved", by="storm")

    return approve


def under_way(store: Store, ids: dict[int, str]) -> int:
    while True:
        with suppress(AvtomatikaError):
            jobs = store.load_many(list(ids.values()))
            return sum(job is None or not job.status.is_final for job in jobs)
        sleep(0.1)


def found_violations(store: Store, ids: dict[int, str]) -> Iterator[str]:
    for n, job_id in ids.items():
        yield from violations(store, job_id, states=states_of(n), result=result_of(n))
        for child_id in store.load_many([job_id])[0].children:  # type: ignore[union-attr]
            yield from violations(store, child_id, states=["twice", "both"], result=result_of(n))


def test_every_job_ends_rightly_whoever_is_killed(make_server: Callable[..., Any], tmp_path: Path) -> None:
    dice = chance("mixed")
    server = make_server(appendfsync="always")
    ids: dict[int, str] = {}
    secret = GroupSecret(SECRET_KEY)
    with (
        Installation(server.url, tmp_path, blueprint="mixed") as installation,
        closing(Store.connect(server.url, secret=secret)) as store,
    ):
        demand = Demand(installation.client(), ids)
        storms = [Storm(demand.create), Storm(approve_all(store))]
        for storm in storms:
            storm.start()
        for kill in range(KILLS):
            demand.due = (kill + 1) * JOBS_PER_KILL
            wait_until(lambda: under_way(store, ids), 60, "jobs under way")
            sleep(dice.uniform(0, 1.5))
            role = dice.choice(["orchestrator", "worker", "web", "server"])
            if role == "server":
                server.kill()
                server.start()
            else:
                installation.restart(role)
        deadline = monotonic() + 120
        while (len(ids) < JOBS or under_way(store, ids)) and monotonic() < deadline:
            sleep(0.2)
        for storm in storms:
            storm.stop()
        found = list(found_violations(store, ids))
        print(f"{len(ids)} jobs, {KILLS} kills: {len(found)} violations")

    assert len(ids) == JOBS
    assert found == []
