"""The archive on PostgreSQL: many jobs, and a database that is killed under load."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any

import pytest

from avtomatika.core.job import JobStatus

from ..support.installation import Installation
from ..support.postgres import Postgres
from ..support.waiting import wait_until
from .conftest import Archived, start_postgres

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

JOBS, STORM_JOBS, KILLS = 10_000, 150, 4


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    yield from start_postgres()


def test_ten_thousand_jobs_are_read_back(open_house: Callable[..., Archived], own_postgres: Postgres) -> None:
    house = open_house(own_postgres.uri)
    made = [job_id for n in range(JOBS // 500) for job_id in house.end(500, labels={"part": str(n % 10)})]
    problem = {"code": "DISK_FULL", "message": "no space left"}
    failed = house.end(7, status=JobStatus.FAILED, error=problem)
    before = [house.whole(job_id) for job_id in made[::1000]]
    house.move([*made, *failed])

    assert house.client.zcard("{avt.g0}:jobs") == 0
    assert house.ids(limit=200) == sorted([*made, *failed], reverse=True)
    assert house.ids(limit=200, labels=(("part", "3"),)) == sorted(
        (job_id for n, job_id in enumerate(made) if n // 500 % 10 == 3), reverse=True
    )
    assert set(house.ids(text="no space")) == set(house.ids(status="failed")) == set(failed)
    assert [house.whole(job_id) for job_id in made[::1000]] == before
    print(f"{len(made) + len(failed)} jobs archived and read back")


def test_nothing_is_lost_when_the_database_is_killed_under_load(
    make_server: Callable[..., Any], own_postgres: Postgres, tmp_path: Path
) -> None:
    server, numbers = make_server(appendfsync="always"), dict[str, int]()
    settings = {"HISTORY_DATABASE_URI": own_postgres.uri, "JOB_TTL_SECONDS": "1"}
    with Installation(server.url, tmp_path, **settings) as installation:
        client = installation.client()

        def create() -> None:
            for n in range(STORM_JOBS):
                numbers[client.submit("three", {"n": n}, idempotency_key=f"job-{n}")["job_id"]] = n
                sleep(0.1)

        creator = Thread(target=create)
        creator.start()
        for _ in range(KILLS):
            sleep(3)
            own_postgres.kill()
            sleep(2)
            own_postgres.start()
        creator.join()

        def archived() -> int:
            return sum(1 for _ in client.jobs(archived=True, status="finished", page_size=200))

        wait_until(lambda: archived() == STORM_JOBS, 240, "all jobs have ended")
        wait_until(lambda: client.count_jobs()["total"] == 0, 240, "all jobs are archived")
        found = {job["id"]: client.job(job["id"])["result"] for job in client.jobs(archived=True, page_size=50)}
        histories = [client.history(job_id)["events"] for job_id in found]

        assert installation.alive() == {"orchestrator", "worker", "web"}
    assert found == {job_id: {"sum": 3 * n} for job_id, n in numbers.items()}
    assert all([each["seq"] for each in events] == list(range(1, len(events) + 1)) for events in histories)
    assert all(events[-1]["event_type"] == "job_finished" for events in histories)
    print(f"{len(found)} jobs, {KILLS} kills of the database: none lost")
