"""Workers are stopped, killed and started while tasks time out: no task starts after its job has ended."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from avtomatika.client import Client

from ..support.installation import Installation
from ..support.scale import SCALE

ROUNDS = 4 * SCALE
#: Tolerance for history timestamps, and for the time between decision and commit.
CLOCK_SECONDS = 0.5

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120 + 30 * ROUNDS)]


@pytest.mark.parametrize("link", ["broker", "http"])
def test_no_task_begins_after_its_job_has_ended(make_server: Callable[..., Any], tmp_path: Path, link: str) -> None:
    server, begun = make_server(), tmp_path / "begun.log"
    begun.touch()
    environment = {"BEGUN_LOG": str(begun), "WORKER_TOKEN": "worker-token-of-the-storm"}
    environment |= {"WORKER_CONCURRENCY": "4", "WORKER_DRAIN_TIMEOUT": "0.2", "WORKER_KILL_AFTER": "0.5"}
    with Installation(server.url, tmp_path, blueprint="late", **environment) as installation:
        own = {"ORCHESTRATOR_URL": installation.base_url} if link == "http" else {}
        client = installation.client()
        late: list[str] = []
        for number in range(ROUNDS):
            late += [client.submit("late", {"skill": "linger", "result_timeout": 1.5})["job_id"] for _ in range(3)]
            sleep(1)  # at the stop, some tasks have ended and some have not
            if number % 2:
                installation.kill("worker")
            else:
                installation.stop("worker")
            installation.start("worker", **own)
        ends = {client.wait(job_id, timeout=60)["status"] for job_id in late}
        installation.stop("worker")
        installation.start("worker", **own)
        follower = client.submit("late", {"skill": "end", "result_timeout": 30})["job_id"]
        assert client.wait(follower, timeout=60)["status"] == "finished"
        ended_at = {job_id: _ended_at(client, job_id) for job_id in late}

    rows = [line.split() for line in begun.read_text().splitlines()]
    assert ends == {"failed"}
    assert rows, "no task has started"
    assert [job_id for job_id, at in rows if float(at) > ended_at[job_id] + CLOCK_SECONDS] == []


def _ended_at(client: Client, job_id: str) -> float:
    return datetime.fromisoformat(client.history(job_id)["events"][-1]["timestamp"]).timestamp()
