"""Processes that tests start end with a killed pytest."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from .support import reaper
from .support.processes import REPOSITORY, Process
from .support.waiting import wait_until

#: Stands for pytest: starts a process in another session, which ignores the end of its parent.
PROGRAM = f"""
import subprocess, sys
sys.path.insert(0, {str(REPOSITORY)!r})
from tests.support import reaper
reaper.start()
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_processes_of_a_killed_run_are_killed(tmp_path: Path) -> None:
    run = Process([sys.executable, "-c", PROGRAM], tmp_path, {}, log=tmp_path / "log")
    wait_until(lambda: run.log.endswith("\n"), what=lambda: run.log)
    child = int(run.log)
    assert child in reaper.marked(_run_of(child))

    run.process.kill()

    wait_until(lambda: not Path(f"/proc/{child}").exists())
    run.kill()


def _run_of(pid: int) -> str:
    environ = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return next(each.partition("=")[2] for each in environ if each.startswith(reaper.RUN_VARIABLE))
