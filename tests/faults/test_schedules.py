"""Three orchestrators run a schedule of a second while they are killed in turn: no tick is missed or runs twice."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from time import sleep

import pytest

from avtomatika.core.job import Job
from avtomatika.core.signing import GroupSecret
from avtomatika.store import JobFilter, Store

from ..support.installation import SECRET_KEY, Installation
from ..support.scale import SCALE, chance
from ..support.servers import OwnServer
from ..support.waiting import wait_until

TICKS = min(20 * SCALE, 200)
#: Ticks between two kills.
ROUND = 10
ROLES = ("orchestrator", "orchestrator-2", "orchestrator-3")

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240 + 4 * TICKS)]


def all_jobs(store: Store) -> list[Job]:
    jobs, cursor = store.list_jobs(JobFilter(limit=200), with_data=True)
    while cursor is not None:
        page, cursor = store.list_jobs(JobFilter(limit=200, cursor=cursor), with_data=True)
        jobs += page
    return jobs


def test_no_tick_is_missed_or_runs_twice_while_orchestrators_are_killed(own_server: OwnServer, tmp_path: Path) -> None:
    dice = chance("schedules")
    with (
        Installation(own_server.url, tmp_path, blueprint="timetable", WORKER_POOL="thread") as installation,
        closing(Store.connect(own_server.url, secret=GroupSecret(SECRET_KEY))) as store,
    ):
        for role in ROLES[1:]:
            installation.also(role, like="orchestrator")
        for number in range(1, TICKS // ROUND + 1):
            wait_until(
                lambda ticks=ROUND * number: store.count("finished") >= ticks, 120, "ticks run", pause_seconds=0.1
            )
            sleep(dice.uniform(0, 1))
            installation.restart(ROLES[number % 3])
        wait_until(lambda: store.count("finished") >= TICKS + ROUND, 120, "ticks run after the last kill")
        store.schedules.change("tick", lambda found: found.paused(True, store.clock.now_ms()))
        wait_until(lambda: {job.status for job in all_jobs(store)} == {"finished"}, 60, "all jobs have finished")
        jobs = all_jobs(store)

    ticks = sorted(job.scheduled_ms or 0 for job in jobs)
    assert ticks == [ticks[0] + 1000 * n for n in range(len(jobs))]
    assert all(job.result == (job.scheduled_ms or 0) / 1000 for job in jobs)
