"""Keeps programs running: starts them in order, passes on what they say, restarts what dies, stops them in reverse.

Each runs in a process group of its own, so that Ctrl-C in a terminal reaches the supervisor alone, and what a program
leaves behind can be swept away with it. One thread, no signal handlers: the caller polls.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

from avtomatika.errors import SettingsError

from .parent import PARENT_VARIABLE

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
#: Who has lived that long is not in a crash loop.
_STEADY_SECONDS = 30.0
#: How our commands end when they are told something that cannot work; trying again would not help.
_USAGE = 2


@dataclass(frozen=True, slots=True)
class Program:
    """Something to keep running; it gets *stop_seconds* to end after SIGTERM, and inherits *descriptors*."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    stop_seconds: float
    descriptors: tuple[int, ...] = ()


class Supervisor:
    """*on_line* gets a program's name and a line of what it wrote; *inherited* are descriptors for all to hold."""

    def __init__(
        self, programs: Sequence[Program], *, on_line: Callable[[str, str], None], inherited: Sequence[int] = ()
    ) -> None:
        self._on_line = on_line
        self._outputs = selectors.DefaultSelector()
        self._children = [_Child(program, inherited) for program in programs]

    def start(self) -> None:
        for child in self._children:
            self._start(child)

    def poll(self, timeout_seconds: float) -> None:
        """Pass on output for up to *timeout_seconds*, then look after the dead.

        SettingsError when a program ended because of what it was told.
        """
        self._pass_on_output(timeout_seconds)
        for child in self._children:
            if child.has_died():
                self._say_farewell(child)
            elif child.is_due():
                self._start(child)

    def stop(self, *, in_a_hurry: Callable[[], bool]) -> None:
        """End them one after the other, last started first; at once when *in_a_hurry* says so."""
        for child in reversed(self._children):
            child.terminate()
            deadline = monotonic() + child.program.stop_seconds
            while child.is_running() and monotonic() < deadline and not in_a_hurry():
                self._pass_on_output(0.05)
            child.sweep()
        self._pass_on_output(0)
        for key in list(self._outputs.get_map().values()):
            self._close(key.data)
        self._outputs.close()

    def _start(self, child: _Child) -> None:
        output = child.start()
        self._outputs.register(output.descriptor, selectors.EVENT_READ, output)

    def _say_farewell(self, child: _Child) -> None:
        code, pause_seconds = child.bury()
        self._pass_on_output(0)
        if code == _USAGE:
            raise SettingsError(f"{child.program.name} cannot run as it was told to; it says why above")
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        self._on_line(child.program.name, f"{how}; starting it again in {pause_seconds:g} s")

    def _pass_on_output(self, timeout_seconds: float) -> None:
        for key, _ in self._outputs.select(timeout_seconds):
            output: _Output = key.data
            lines = output.read()
            for line in lines or ():
                self._on_line(output.name, line)
            if lines is None:
                self._close(output)

    def _close(self, output: _Output) -> None:
        self._outputs.unregister(output.descriptor)
        os.close(output.descriptor)


class _Child:
    """One program: its process, and when it is to be started again."""

    def __init__(self, program: Program, inherited: Sequence[int]) -> None:
        self.program = program
        self._inherited = inherited
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._due_at = 0.0
        self._pause_seconds = _FIRST_PAUSE_SECONDS

    def start(self) -> _Output:
        reading, writing = os.pipe()
        try:
            self._process = subprocess.Popen(
                self.program.command,
                env={**self.program.environment, PARENT_VARIABLE: str(os.getpid())},
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                pass_fds=(*self._inherited, *self.program.descriptors),
                process_group=0,
            )
        finally:
            os.close(writing)
        self._started_at = monotonic()
        return _Output(self.program.name, reading)

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def has_died(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def is_due(self) -> bool:
        return self._process is None and monotonic() >= self._due_at

    def bury(self) -> tuple[int, float]:
        """Exit code of the dead process, and the seconds until the next is started."""
        code = self._process.returncode if self._process else 0
        self.sweep()
        if monotonic() - self._started_at > _STEADY_SECONDS:
            self._pause_seconds = _FIRST_PAUSE_SECONDS
        pause_seconds = self._pause_seconds
        self._due_at = monotonic() + pause_seconds
        self._pause_seconds = min(pause_seconds * 2, _LONGEST_PAUSE_SECONDS)
        return code, pause_seconds

    def terminate(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def sweep(self) -> None:
        """End whatever is left of it and of those that it started."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter: macOS, of a group of zombies
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


class _Output:
    """What comes out of one process, line by line."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self.descriptor = descriptor
        self._rest = b""

    def read(self) -> list[str] | None:
        """Whole lines that have come, or None at the end."""
        piece = os.read(self.descriptor, 65_536)
        if not piece and not self._rest:
            return None
        *lines, self._rest = (self._rest + (piece or b"\n")).split(b"\n")
        return [line.decode(errors="replace") for line in lines]
