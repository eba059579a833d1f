"""A limit of a blueprint, with real processes: never exceeded, and free again when a worker is killed."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from ..support.installation import Installation
from ..support.scale import SCALE
from ..support.waiting import wait_until
from .bank import MOST, RUNNING

KILLS = min(3 * SCALE, 30)

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240 + 30 * KILLS)]


def test_three_of_three_run_and_the_slots_of_a_killed_worker_come_back(redis_url: str, tmp_path: Path) -> None:
    other = {"WORKER_ID": "other"}
    with (
        redis.Redis.from_url(redis_url, decode_responses=True) as server,
        Installation(redis_url, tmp_path, blueprint="bank", WORKER_CONCURRENCY="4") as installation,
    ):
        installation.also("other", like="worker", **other)
        client = installation.client()

        def running() -> int:
            return sum(map(int, server.hvals(RUNNING)))

        def kill_one(role: str, name: str, **environment: str) -> None:
            installation.kill(role)
            server.hdel(RUNNING, name)
            installation.start(role, **environment)

        jobs = [client.submit("bank", {"account": 7, "seconds": 0.5})["job_id"] for _ in range(20 + 10 * KILLS)]
        for number in range(KILLS):
            wait_until(lambda: running() == 3, 60, "three transfers run")
            if number == 0:
                limit = client.limit("key", "acct-7")
                waits = client.why(jobs[-1])["reasons"]
            kill_one(*(("other", "other") if number % 2 else ("worker", "storm")), **(other if number % 2 else {}))
        ended = [client.wait(job_id, timeout=120 + 10 * KILLS)["status"] for job_id in jobs]
        left = client.limits()
        most = server.zscore(MOST, "most")

    assert (limit["running"], len(limit["jobs"])) == (3, 3)
    assert "It waits for the limit of the key 'acct-7': 3 of 3 running, " in " ".join(each["text"] for each in waits)
    assert set(ended) == {"finished"}
    assert most == 3
    assert left == []
