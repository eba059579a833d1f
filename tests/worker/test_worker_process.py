"""A worker process: signals, kills, and its tasks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
import requests

from .conftest import DEADLINE_SECONDS, Office
from .programs import SCRIPT

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path, redis_url: str) -> Iterator[Start]:
    """Start the script above; keyword arguments are environment variables."""
    script = tmp_path / "my_worker.py"
    script.write_text(SCRIPT)
    processes: list[subprocess.Popen[str]] = []

    def run(**environ: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, script],
            env={**os.environ, "REDIS_URL": redis_url, **environ},
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def test_a_script_runs_its_worker(start: Start, office: Office) -> None:
    process = start(WORKER_ID="worker-1")
    office.give({"by": "script"})

    [result] = office.results(1)
    process.terminate()
    _, log = process.communicate(timeout=DEADLINE_SECONDS)

    assert (result.worker_id, result.data) == ("worker-1", {"by": "script"})
    assert "worker worker-1 (test) takes work from redis://127.0.0.1" in log
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_running_tasks_and_leaves_others(
    start: Start, office: Office, tmp_path: Path, number: signal.Signals
) -> None:
    process = start(WORKER_CONCURRENCY="1")
    gate = tmp_path / "gate"
    office.give({"gate": str(gate), "by": "first"}, {}, {})
    wait_until_begun(gate)

    process.send_signal(number)
    rest = office.take("work", 2)
    gate.touch()

    [result] = office.results(1)
    assert result.data == {"by": "first"}
    assert [delivery.deliveries for delivery in rest] == [1, 1]
    assert process.wait(DEADLINE_SECONDS) == 0


def test_unfinished_tasks_are_requeued_immediately(start: Start, office: Office, tmp_path: Path) -> None:
    process = start(WORKER_CONCURRENCY="2", WORKER_DRAIN_TIMEOUT="0.2")
    office.give({"gate": str(tmp_path / "never")}, {"gate": str(tmp_path / "never")})
    office.notices(2)

    process.terminate()

    assert process.wait(DEADLINE_SECONDS) == 0
    assert [delivery.deliveries for delivery in office.take("work", 2)] == [1, 1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_exits_immediately(
    start: Start, office: Office, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    process = start()
    office.give({"gate": str(tmp_path / "never")})
    office.notices(1)

    process.send_signal(number)
    _wait_for_line(process, "waiting for running tasks")
    process.send_signal(number)

    assert process.wait(DEADLINE_SECONDS) == code


def test_a_crash_of_a_skill_costs_one_attempt_and_not_the_worker(start: Start, office: Office) -> None:
    process = start(WORKER_POOL="process", WORKER_CONCURRENCY="2")
    office.give({"kill": signal.SIGSEGV}, {"pid": True})

    killed, other = office.results(2)
    process.terminate()
    _, log = process.communicate(timeout=DEADLINE_SECONDS)

    assert killed.error == {"code": "TRANSIENT_ERROR", "message": "the process of the skill was killed by SIGSEGV"}
    assert other.data["pid"] != process.pid
    assert process.returncode == 0
    assert "Traceback" not in log


def test_a_worker_serves_its_health_check(start: Start, office: Office) -> None:
    with socket.create_server(("", 0)) as free:
        port = free.getsockname()[1]
    start(WORKER_HEALTH_PORT=str(port))
    office.give({})
    office.results(1)

    answer = requests.get(f"http://127.0.0.1:{port}/livez", timeout=DEADLINE_SECONDS)

    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    assert set(answer.json()["loops"]) == {"intake", "outbox", "async skills"}


def test_a_recycled_worker_keeps_its_process_id_and_loses_nothing(start: Start, office: Office) -> None:
    process = start(WORKER_POOL="thread", WORKER_MAX_TASKS="3", WORKER_CONCURRENCY="1")
    office.give(*[{"pid": True} for _ in range(8)])

    results = office.results(8)
    process.terminate()
    _, log = process.communicate(timeout=DEADLINE_SECONDS)

    assert {result.data["pid"] for result in results} == {process.pid}
    assert log.count("takes work from") == 3
    assert "tasks finished: restarting after running tasks finish" in log
    assert process.returncode == 0


def test_a_killed_worker_leaves_no_processes(start: Start, office: Office, tmp_path: Path) -> None:
    process = start(WORKER_POOL="process")
    office.give({"pid": True})
    [result] = office.results(1)
    gate = tmp_path / "never"
    office.give({"gate": str(gate)})
    wait_until_begun(gate)

    process.kill()

    deadline = monotonic() + DEADLINE_SECONDS
    while Path(f"/proc/{result.data['pid']}").exists():
        assert monotonic() < deadline
        sleep(0.01)


@pytest.mark.faults
def test_another_worker_runs_the_task_of_a_killed_one(
    start: Start, redis_url: str, make_office: Callable[..., Office], tmp_path: Path
) -> None:
    office = make_office(redis_url, lease_seconds=1)
    first = start(WORKER_ID="first", WORKER_LEASE_SECONDS="1")
    gate = tmp_path / "gate"
    office.give({"gate": str(gate)})
    wait_until_begun(gate)

    first.kill()
    gate.touch()
    start(WORKER_ID="second", WORKER_LEASE_SECONDS="1")

    [result] = office.results(1)
    assert result.worker_id == "second"


def test_settings_that_do_not_fit_are_named(start: Start) -> None:
    process = start(WORKER_CONCURRENCY="many")

    _, log = process.communicate(timeout=DEADLINE_SECONDS)

    assert "WORKER_CONCURRENCY='many': must be a whole number from 1" in log
    assert process.returncode == 1


def wait_until_begun(gate: Path) -> None:
    """Wait for the skill that blocks at *gate*. The announcement of the task arrives a moment earlier."""
    begun, deadline = Path(f"{gate}.begun"), monotonic() + DEADLINE_SECONDS
    while not begun.exists():
        assert monotonic() < deadline, f"no skill came to {gate}"
        sleep(0.01)


def _wait_for_line(process: subprocess.Popen[str], words: str) -> None:
    """Read the output of *process* until it contains *words*."""
    stream: Any = process.stderr
    assert any(words in line for line in stream)
