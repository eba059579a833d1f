"""A worker process: signals, kills, and its tasks."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import requests

from ..support.ports import free_port
from ..support.processes import Process
from ..support.scripted_orchestrator import DEADLINE_SECONDS, Office
from ..support.waiting import wait_until
from ..support.workers import wait_until_begun

Start = Callable[..., Process]


@pytest.fixture
def start(make_worker: Callable[..., Process], redis_url: str) -> Start:
    """Start a worker of the script; keyword arguments are environment variables."""
    return partial(make_worker, REDIS_URL=redis_url)


def test_a_script_runs_its_worker(start: Start, office: Office) -> None:
    process = start(WORKER_ID="worker-1")
    office.give({"by": "script"})

    [result] = office.results(1)
    code = process.end()

    assert (result.worker_id, result.data) == ("worker-1", {"by": "script"})
    assert "worker worker-1 (test) takes work from redis://127.0.0.1" in process.log
    assert code == 0


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
    assert process.process.wait(DEADLINE_SECONDS) == 0


def test_unfinished_tasks_are_requeued_immediately(start: Start, office: Office, tmp_path: Path) -> None:
    process = start(WORKER_CONCURRENCY="2", WORKER_DRAIN_TIMEOUT="0.2")
    office.give({"gate": str(tmp_path / "never")}, {"gate": str(tmp_path / "never")})
    office.notices(2)

    assert process.end() == 0
    assert [delivery.deliveries for delivery in office.take("work", 2)] == [1, 1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_exits_immediately(
    start: Start, office: Office, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    process = start()
    office.give({"gate": str(tmp_path / "never")})
    wait_until_begun(tmp_path / "never")

    process.send_signal(number)
    process.wait_for_log("waiting for running tasks")
    process.send_signal(number)

    assert process.process.wait(DEADLINE_SECONDS) == code


def test_a_crash_of_a_skill_costs_one_attempt_and_not_the_worker(start: Start, office: Office) -> None:
    process = start(WORKER_POOL="process", WORKER_CONCURRENCY="2")
    office.give({"kill": signal.SIGSEGV}, {"pid": True})

    killed, other = office.results(2)
    code = process.end()

    assert killed.error == {"code": "TRANSIENT_ERROR", "message": "the process of the skill was killed by SIGSEGV"}
    assert other.data["pid"] != process.pid
    assert code == 0
    assert "Traceback" not in process.log


def test_a_worker_serves_its_health_check(start: Start, office: Office) -> None:
    port = free_port()
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
    code = process.end()

    assert {result.data["pid"] for result in results} == {process.pid}
    assert process.log.count("takes work from") == 3
    assert "tasks finished: restarting after running tasks finish" in process.log
    assert code == 0


def test_a_killed_worker_leaves_no_processes(start: Start, office: Office, tmp_path: Path) -> None:
    process = start(WORKER_POOL="process")
    office.give({"pid": True})
    [result] = office.results(1)
    gate = tmp_path / "never"
    office.give({"gate": str(gate)})
    wait_until_begun(gate)

    process.end(signal.SIGKILL)

    wait_until(lambda: not Path(f"/proc/{result.data['pid']}").exists())


@pytest.mark.faults
def test_another_worker_runs_the_task_of_a_killed_one(
    start: Start, redis_url: str, make_office: Callable[..., Office], tmp_path: Path
) -> None:
    office = make_office(redis_url, lease_seconds=1)
    first = start(WORKER_ID="first", WORKER_LEASE_SECONDS="1")
    gate = tmp_path / "gate"
    office.give({"gate": str(gate)})
    wait_until_begun(gate)

    first.end(signal.SIGKILL)
    gate.touch()
    second = start(WORKER_ID="second", WORKER_LEASE_SECONDS="1")
    second.wait_for_log("takes work from")

    [result] = office.results(1)
    assert result.worker_id == "second"


def test_settings_that_do_not_fit_are_named(start: Start) -> None:
    process = start(WORKER_CONCURRENCY="many")

    code = process.process.wait(DEADLINE_SECONDS)

    assert "WORKER_CONCURRENCY='many': must be a whole number from 1" in process.log
    assert code == 1
