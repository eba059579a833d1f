"""``avtomatika worker --reload``: the worker restarts when code changes, and survives a broken file."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.cli import WORKER, clean_environment
from ..support.processes import AVTOMATIKA, Process
from ..support.waiting import wait_until


@pytest.fixture
def worker(project: Path, redis_url: str) -> Iterator[Process]:
    """A worker with its reloader."""
    environ = clean_environment() | {"ORCHESTRATOR_URL": redis_url, "LOG_FORMAT": "text"}
    worker = Process((*AVTOMATIKA, "worker", "--reload"), project, environ, log=project / "log.txt")
    yield worker
    worker.kill()


def test_a_worker_restarts_when_its_code_changes_and_survives_an_error(project: Path, worker: Process) -> None:
    worker.wait_for_log("takes greet from")

    (project / "worker.py").write_text(WORKER + "\n@worker.skill\ndef wave(params): ...\n")
    worker.wait_for_log("worker.py changed, restarting")
    worker.wait_for_log("takes greet, wave from")

    (project / "worker.py").write_text(WORKER + "\ndef (\n")
    worker.wait_for_log("waiting for a change of the code")
    (project / "worker.py").write_text(WORKER + "\n@worker.skill\ndef bow(params): ...\n")
    worker.wait_for_log("takes greet, bow from")
    assert worker.end() == 0


def test_the_worker_ends_with_its_reloader(worker: Process) -> None:
    worker.wait_for_log("takes greet from")
    [child] = _children(worker.pid)

    worker.end(signal.SIGKILL)

    wait_until(lambda: not Path(f"/proc/{child}").exists())


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
