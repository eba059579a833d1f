"""Supervisor of processes: starts them in order, forwards their output, restarts them, stops them in reverse order.

Each runs in its own process group, so that Ctrl-C in a terminal reaches only the supervisor, and a process can be
killed together with its children. A thread forwards its output; the supervisor has no signal handler: the caller polls.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Thread
from time import monotonic, sleep
from typing import IO

from avtomatika.errors import SettingsError

from .parent import PARENT_VARIABLE

_FIRST_DELAY_SECONDS = 0.5
_MAX_DELAY_SECONDS = 30.0
#: A process that ran this long is not in a crash loop.
_STABLE_SECONDS = 30.0
#: Time for the rest of the output of an ended process, which another program may hold open.
_OUTPUT_SECONDS = 1.0
#: Exit code for wrong usage or settings: a restart would not help.
_EXIT_USAGE = 2


@dataclass(frozen=True, slots=True)
class Program:
    """A program to keep running. It is killed *stop_seconds* after SIGTERM, and inherits *descriptors*."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    stop_seconds: float
    descriptors: tuple[int, ...] = ()


class Supervisor:
    """Runs *programs*. *on_line* receives name and line of their output; all inherit the descriptors *inherited*."""

    def __init__(
        self, programs: Sequence[Program], *, on_line: Callable[[str, str], None], inherited: Sequence[int] = ()
    ) -> None:
        self._children = [_Child(program, on_line, inherited) for program in programs]

    def start(self) -> None:
        for child in self._children:
            child.start()

    def poll(self, timeout_seconds: float) -> None:
        """Wait *timeout_seconds*, then restart programs that ended.

        Raises SettingsError if a program ended because of its arguments or settings.
        """
        sleep(timeout_seconds)
        for child in self._children:
            if child.has_died():
                child.reap()
            elif child.is_due():
                child.start()

    def stop(self, *, in_a_hurry: Callable[[], bool]) -> None:
        """Stop the programs in reverse order, gracefully unless *in_a_hurry* returns True."""
        for child in reversed(self._children):
            child.terminate()
            deadline = monotonic() + child.program.stop_seconds
            while child.is_running() and monotonic() < deadline and not in_a_hurry():
                sleep(0.05)
            child.kill_group()


class _Child:
    """The process of one program, and the time of its next start."""

    def __init__(self, program: Program, on_line: Callable[[str, str], None], inherited: Sequence[int]) -> None:
        self.program = program
        self._on_line = on_line
        self._inherited = inherited
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._due_at = 0.0
        self._delay_seconds = _FIRST_DELAY_SECONDS

    def start(self) -> None:
        self._process = subprocess.Popen(
            self.program.command,
            env={**self.program.environment, PARENT_VARIABLE: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(*self._inherited, *self.program.descriptors),
            process_group=0,
        )
        self._started_at = monotonic()
        self._forwarding = Thread(target=self._forward, args=(self._process.stdout,), daemon=True)
        self._forwarding.start()

    def _forward(self, output: IO[bytes]) -> None:
        with output:
            for line in output:
                self._on_line(self.program.name, line.removesuffix(b"\n").decode(errors="replace"))

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def has_died(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def is_due(self) -> bool:
        return self._process is None and monotonic() >= self._due_at

    def reap(self) -> None:
        """Choose the time at which the ended process is restarted. Raises SettingsError if that would not help."""
        code = self._process.returncode if self._process else 0
        self.kill_group()
        if code == _EXIT_USAGE:
            raise SettingsError(f"{self.program.name} cannot start; see its message above")
        if monotonic() - self._started_at > _STABLE_SECONDS:
            self._delay_seconds = _FIRST_DELAY_SECONDS
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        self._on_line(self.program.name, f"{how}, restarting it in {self._delay_seconds:g} s")
        self._due_at = monotonic() + self._delay_seconds
        self._delay_seconds = min(self._delay_seconds * 2, _MAX_DELAY_SECONDS)

    def terminate(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def kill_group(self) -> None:
        """Kill the process and its children, reap it, and forward the rest of the output."""
        if self._process is not None:
            with contextlib.suppress(
                ProcessLookupError, PermissionError
            ):  # PermissionError: macOS, for a group of zombies
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
            self._forwarding.join(_OUTPUT_SECONDS)
