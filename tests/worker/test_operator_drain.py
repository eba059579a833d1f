"""An operator drains a worker: it finishes what it runs, takes nothing new, and stays so until it is resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from avtomatika.client import Client
from avtomatika.store import WorkerRegistry

from ..support.processes import Process
from ..support.waiting import wait_until
from ..support.web import TOKEN
from ..support.workers import WORKER_TOKEN, wait_until_begun


@pytest.fixture
def registry(redis_url: str) -> Iterator[WorkerRegistry]:
    registry = WorkerRegistry.connect(redis_url)
    yield registry
    registry.close()


@pytest.mark.parametrize("address", ["redis", "http"], indirect=True)
@pytest.mark.usefixtures("orchestrator")
def test_a_drained_worker_takes_nothing_new_until_it_is_resumed(
    address: str, redis_url: str, registry: WorkerRegistry, make_worker: Callable[..., Process], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    environ = {"ORCHESTRATOR_URL": address, "WORKER_TOKEN": WORKER_TOKEN, "WORKER_ID": "w-1", "WORKER_CONCURRENCY": "2"}
    worker = make_worker(**environ)

    def said() -> Any:
        """Return the status of its last heartbeat."""
        return next((each.beat.get("status") for each in registry.workers()), None)

    with Client(redis_url, TOKEN) as api:
        running = api.send_task("work", {"gate": str(gate)})["job_id"]
        wait_until_begun(gate)
        [task] = wait_until(
            lambda: [task for each in registry.workers() for task in each.tasks], 30, "its heartbeat names the task"
        )
        api.drain_worker("w-1")
        worker.wait_for_log("draining: taking no tasks", within_seconds=30)
        later = api.send_task("work", {"by": "later"})["job_id"]
        wait_until(lambda: said() == "draining", 30, "it says that it drains")
        drained = api.worker("w-1")
        gate.touch()
        done = api.wait(running, timeout=60)
        waiting = api.job(later)["status"]
        stopped = worker.end()
        again = make_worker(**environ)
        again.wait_for_log("draining: taking no tasks", within_seconds=60)
        last = api.send_task("work", {"by": "last"})["job_id"]
        wait_until(lambda: api.why(last)["reasons"], 30, "its task waits")
        reasons = {reason["code"]: reason["text"] for reason in api.why(last)["reasons"]}
        api.resume_worker("w-1")
        resumed = [api.wait(job_id, timeout=60)["status"] for job_id in (later, last)]

    assert (task["job_id"], task["skill"]) == (running, "work")
    assert (drained["status"], drained["running"], drained["tasks"][0]["job_id"]) == ("draining", 1, running)
    assert (done["status"], waiting, stopped) == ("finished", "waiting_for_worker", 0)
    assert "it is draining" in reasons["worker_unfit"]
    assert resumed == ["finished", "finished"]
    assert "Traceback" not in worker.log + again.log


@pytest.mark.parametrize("address", ["redis", "http"], indirect=True)
@pytest.mark.usefixtures("orchestrator")
def test_a_revoked_worker_ends_no_task_until_it_is_allowed(
    address: str, redis_url: str, registry: WorkerRegistry, make_worker: Callable[..., Process], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    worker = make_worker(ORCHESTRATOR_URL=address, WORKER_TOKEN=WORKER_TOKEN, WORKER_ID="w-1")
    with Client(redis_url, TOKEN) as api:
        running = api.send_task("work", {"gate": str(gate)})["job_id"]
        wait_until_begun(gate)
        wait_until(registry.workers, 30, "it is registered")
        api.revoke_worker("w-1")
        wait_until(lambda: api.worker("w-1")["status"] == "revoked", 30, "it is revoked")
        worker.wait_for_log("reject this worker" if address == redis_url else "do not match", within_seconds=60)
        gate.touch()
        revoked = api.job(running)["status"]
        api.allow_worker("w-1")
        ended = api.wait(running, timeout=100)

    assert (revoked, ended["status"]) == ("waiting_for_worker", "finished")
