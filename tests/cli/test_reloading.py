"""``avtomatika worker --reload``: the worker restarts when code changes, and survives a broken file."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import AVTOMATIKA, WORKER, clean_environment

DEADLINE_SECONDS = 30


@pytest.fixture
def log(project: Path, redis_url: str) -> Iterator[Path]:
    """The log of the worker, which runs until the test ends."""
    path = project / "log.txt"
    environ = clean_environment() | {"ORCHESTRATOR_URL": redis_url, "LOG_FORMAT": "text"}
    with path.open("w") as output:
        process = subprocess.Popen(
            [*AVTOMATIKA, "worker", "--reload"], cwd=project, env=environ, stdout=output, stderr=output
        )
    yield path
    process.terminate()
    assert process.wait(DEADLINE_SECONDS) == 0


def says(log: Path, words: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while words not in log.read_text():
        assert time.monotonic() < deadline, f"{words!r} is not in:\n{log.read_text()}"
        time.sleep(0.05)


def test_a_worker_restarts_when_its_code_changes_and_survives_an_error(project: Path, log: Path) -> None:
    says(log, "takes greet from")

    (project / "worker.py").write_text(WORKER + "\n@worker.skill\ndef wave(params): ...\n")
    says(log, "worker.py changed, restarting")
    says(log, "takes greet, wave from")

    (project / "worker.py").write_text(WORKER + "\ndef (\n")
    says(log, "waiting for a change of the code")
    (project / "worker.py").write_text(WORKER + "\n@worker.skill\ndef bow(params): ...\n")
    says(log, "takes greet, bow from")


def test_the_worker_ends_with_its_reloader(project: Path, redis_url: str) -> None:
    environ = clean_environment() | {"ORCHESTRATOR_URL": redis_url}
    path = project / "log.txt"
    with path.open("w") as output:
        process = subprocess.Popen(
            [*AVTOMATIKA, "worker", "--reload"], cwd=project, env=environ, stdout=output, stderr=output
        )
    says(path, "takes greet from")
    [child] = _children(process.pid)

    process.send_signal(signal.SIGKILL)
    process.wait()

    _until(lambda: not Path(f"/proc/{child}").exists())


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        os.sched_yield()
