"""Processes that tests start, and what the operating system knows about them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic

from .reaper import RUN_VARIABLE
from .waiting import wait_until

REPOSITORY = Path(__file__).parents[2]
AVTOMATIKA = (sys.executable, "-m", "avtomatika.cli")


class Process:
    """A process in a session of its own, whose output goes to a file. It ends with the test or with pytest."""

    def __init__(self, command: Sequence[str | Path], folder: Path, environ: Mapping[str, str], *, log: Path) -> None:
        self._log = log
        with log.open("a") as output:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": str(REPOSITORY),
                    RUN_VARIABLE: os.environ[RUN_VARIABLE],
                    **({"AVTOMATIKA_SHARDS": os.environ["TEST_SHARDS"]} if "TEST_SHARDS" in os.environ else {}),
                    **environ,
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    @property
    def log(self) -> str:
        return self._log.read_text()

    def wait_until(self, condition: Callable[[], object], seconds: float = 30) -> None:
        """The same as the function; a failure shows the log."""
        wait_until(condition, seconds, lambda: self.log)

    def wait_for_log(self, words: str, *, within_seconds: float = 20) -> float:
        """Wait for *words* in the log, and return how long it took."""
        began = monotonic()
        wait_until(lambda: words in self.log, within_seconds, lambda: f"{words!r} in:\n{self.log}")
        return monotonic() - began

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process alone."""
        self.process.send_signal(number)

    def end(self, how: signal.Signals = signal.SIGTERM, *, within_seconds: float = 45) -> int:
        """Send a signal to the process alone; return its exit code."""
        self.process.send_signal(how)
        return self.process.wait(timeout=within_seconds)

    def kill(self) -> None:
        """Send SIGKILL to all processes of the session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def processes_in(folder: Path) -> set[int]:
    """Return the ids of all processes whose working directory is *folder* or below."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cwd").readlink().is_relative_to(folder):
                found.add(int(entry.name))
    return found
