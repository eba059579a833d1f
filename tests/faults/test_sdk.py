"""Workers of the public SDK run unchanged: a hundred jobs, a restarted web, a killed worker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from ..support.processes import REPOSITORY, Process
from ..support.waiting import wait_until
from .hosts import Host

#: Created by ``make sdk``.
PYTHON = REPOSITORY / ".venv-sdk" / "bin" / "python"
pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not PYTHON.exists(), reason="the public SDK is not there: make sdk"),
]

WORKER = """
import asyncio, os, time
from avtomatika_worker import Worker

worker = Worker()

@worker.skill("work")
async def work(params: dict):
    with open(os.environ["LEDGER"], "a") as ledger:
        ledger.write(f"{time.monotonic()} {os.environ['WORKER_ID']} {params['n']}\\n")
    await asyncio.sleep(float(os.environ["SECONDS"]))
    return {"n": params["n"]}

if __name__ == "__main__":
    worker.run()
"""
#: The lease: three heartbeats of the worker.
LEASE_SECONDS = 6


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    env = "WORKER_TOKEN=token-of-the-sdk\n"
    host = Host("orchestrator", "http", tmp_path, env=env, lease_seconds=LEASE_SECONDS)
    host.start()
    yield host
    host.kill()


@pytest.fixture
def make_worker(host: Host, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    made: list[Process] = []

    def make(worker_id: str, *, seconds: float) -> Process:
        folder = tmp_path / worker_id
        folder.mkdir()
        (folder / "sdk_worker.py").write_text(WORKER)
        environ = {
            "PYTHONPATH": "",
            "LEDGER": str(tmp_path / "ledger"),
            "SECONDS": str(seconds),
            "WORKER_ID": worker_id,
            "WORKER_TOKEN": "token-of-the-sdk",
            "ORCHESTRATOR_URL": f"http://{host.address}",
            "HEARTBEAT_INTERVAL": "2",
            "TASK_FILES_DIR": str(folder / "payloads"),
        }
        made.append(Process([str(PYTHON), "sdk_worker.py"], folder, environ, log=folder / "log"))
        return made[-1]

    yield make
    for program in made:
        program.kill()


@pytest.fixture
def begun(tmp_path: Path) -> Callable[[], list[str]]:
    """Return the workers that started a task, in order."""

    def read() -> list[str]:
        ledger = tmp_path / "ledger"
        return [line.split()[1] for line in ledger.read_text().splitlines()] if ledger.exists() else []

    return read


def test_a_hundred_jobs_are_done_each_once(
    host: Host, make_worker: Callable[..., Process], begun: Callable[[], list[str]]
) -> None:
    make_worker("sdk-1", seconds=0)
    jobs = host.create(100)

    wait_until(lambda: host.are_finished(jobs), 60, "the end of all jobs")

    assert host.done_more_than_once(jobs) == []
    assert begun() == ["sdk-1"] * 100
    headers = {"X-Client-Token": "token-of-the-reader"}
    answer = requests.get(f"http://{host.address}/api/v1/workers", headers=headers, timeout=5)
    [worker] = answer.json()["workers"]
    assert (worker["id"], worker["version"], worker["status"]) == ("sdk-1", "rxon 1.0b17", "idle")
    assert [skill["name"] for skill in worker["skills"]] == ["work"]
    assert worker["resources"]["properties"]["cpu_cores"] == 4
    json.dumps(worker["skills"][0]["schema"])


def test_it_goes_on_when_the_web_is_killed_and_comes_back(
    host: Host, make_worker: Callable[..., Process], begun: Callable[[], list[str]]
) -> None:
    make_worker("sdk-1", seconds=0.5)
    jobs = host.create(100)
    wait_until(lambda: len(begun()) >= 30, 30, "work to be under way")

    host.restart_web()

    wait_until(lambda: host.are_finished(jobs), 120, "the end of all jobs")
    assert host.done_more_than_once(jobs) == []


def test_its_tasks_outlive_it(host: Host, make_worker: Callable[..., Process], begun: Callable[[], list[str]]) -> None:
    doomed = make_worker("sdk-doomed", seconds=60)
    jobs = host.create(5)
    wait_until(lambda: len(begun()) == 5, 30, "all tasks to be begun with")

    doomed.kill()
    make_worker("sdk-heir", seconds=0)

    wait_until(lambda: host.are_finished(jobs), 60, "the heir to do them")
    assert begun() == ["sdk-doomed"] * 5 + ["sdk-heir"] * 5
    assert host.done_more_than_once(jobs) == []


def test_it_keeps_what_takes_longer_than_a_lease(
    host: Host, make_worker: Callable[..., Process], begun: Callable[[], list[str]]
) -> None:
    make_worker("sdk-1", seconds=2.5 * LEASE_SECONDS)
    make_worker("sdk-2", seconds=2.5 * LEASE_SECONDS)
    jobs = host.create(4)

    wait_until(lambda: host.are_finished(jobs), 60, "the end of all jobs")

    assert len(begun()) == 4, "a worker started a task that another worker held"
