"""Processes under measurement: start them, and read what CPU time they have used. Linux only (reads /proc)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(*command: str, env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A child that is terminated at the end. ``avtomatika`` means the one of this environment; a path itself."""
    program = command[0] if "/" in command[0] else str(Path(sys.executable).with_name(command[0]))
    child = subprocess.Popen([program, *command[1:]], env={**os.environ, **env}, stdout=subprocess.DEVNULL)
    try:
        yield child
    finally:
        child.terminate()
        child.wait(timeout=30)


@contextmanager
def paused(pids: Iterable[int]) -> Iterator[None]:
    """Stop processes and all that descend from them, and let them continue at the end."""
    family = [member for pid in pids for member in tree(pid)]
    for member in family:
        os.kill(member, signal.SIGSTOP)
    try:
        yield
    finally:
        for member in family:
            os.kill(member, signal.SIGCONT)


def cpu_seconds(pid: int) -> float:
    """User and system time of one process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_SECONDS


def tree_cpu_seconds(pid: int) -> float:
    """The same of a process and all that descend from it."""
    return sum(map(cpu_seconds, tree(pid)))


def tree(pid: int) -> list[int]:
    """The process and all that descend from it."""
    children = (int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in _children(task))
    return [pid, *(member for child in children for member in tree(child))]


def _children(task: Path) -> list[str]:
    return (task / "children").read_text().split()
