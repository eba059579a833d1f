"""Supervisor of processes: starts them in order, forwards their output, restarts them, stops them in reverse order.

Each runs in its own process group, so that Ctrl-C in a terminal reaches only the supervisor, and a process can be
killed together with its children. The supervisor has no thread and no signal handler: the caller polls.
"""

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

_FIRST_DELAY_SECONDS = 0.5
_MAX_DELAY_SECONDS = 30.0
#: A process that ran this long is not in a crash loop.
_STABLE_SECONDS = 30.0
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
        self._on_line = on_line
        self._outputs = selectors.DefaultSelector()
        self._children = [_Child(program, inherited) for program in programs]

    def start(self) -> None:
        for child in self._children:
            self._start(child)

    def poll(self, timeout_seconds: float) -> None:
        """Forward output for up to *timeout_seconds*, then restart programs that ended.

        Raises SettingsError if a program ended because of its arguments or settings.
        """
        self._forward_output(timeout_seconds)
        for child in self._children:
            if child.has_died():
                self._reap(child)
            elif child.is_due():
                self._start(child)

    def stop(self, *, in_a_hurry: Callable[[], bool]) -> None:
        """Stop the programs in reverse order, gracefully unless *in_a_hurry* returns True."""
        for child in reversed(self._children):
            child.terminate()
            deadline = monotonic() + child.program.stop_seconds
            while child.is_running() and monotonic() < deadline and not in_a_hurry():
                self._forward_output(0.05)
            child.kill_group()
        self._forward_output(0)
        for key in list(self._outputs.get_map().values()):
            self._close(key.data)
        self._outputs.close()

    def _start(self, child: "_Child") -> None:
        output = child.start()
        self._outputs.register(output.descriptor, selectors.EVENT_READ, output)

    def _reap(self, child: "_Child") -> None:
        code, delay_seconds = child.reap()
        self._forward_output(0)
        if code == _EXIT_USAGE:
            raise SettingsError(f"{child.program.name} cannot start; see its message above")
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        self._on_line(child.program.name, f"{how}, restarting it in {delay_seconds:g} s")

    def _forward_output(self, timeout_seconds: float) -> None:
        for key, _ in self._outputs.select(timeout_seconds):
            output: _Output = key.data
            lines = output.read()
            for line in lines or ():
                self._on_line(output.name, line)
            if lines is None:
                self._close(output)

    def _close(self, output: "_Output") -> None:
        self._outputs.unregister(output.descriptor)
        os.close(output.descriptor)


class _Child:
    """The process of one program, and the time of its next start."""

    def __init__(self, program: Program, inherited: Sequence[int]) -> None:
        self.program = program
        self._inherited = inherited
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._due_at = 0.0
        self._delay_seconds = _FIRST_DELAY_SECONDS

    def start(self) -> "_Output":
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

    def reap(self) -> tuple[int, float]:
        """Return the exit code of the ended process and the delay before its restart."""
        code = self._process.returncode if self._process else 0
        self.kill_group()
        if monotonic() - self._started_at > _STABLE_SECONDS:
            self._delay_seconds = _FIRST_DELAY_SECONDS
        delay_seconds = self._delay_seconds
        self._due_at = monotonic() + delay_seconds
        self._delay_seconds = min(delay_seconds * 2, _MAX_DELAY_SECONDS)
        return code, delay_seconds

    def terminate(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def kill_group(self) -> None:
        """Kill the process and its children, and reap it."""
        if self._process is not None:
            with contextlib.suppress(
                ProcessLookupError, PermissionError
            ):  # PermissionError: macOS, for a group of zombies
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


class _Output:
    """The output of one process, split into lines."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self.descriptor = descriptor
        self._rest = b""

    def read(self) -> list[str] | None:
        """Return the complete lines received, or None at the end of the output."""
        piece = os.read(self.descriptor, 65_536)
        if not piece and not self._rest:
            return None
        *lines, self._rest = (self._rest + (piece or b"\n")).split(b"\n")
        return [line.decode(errors="replace") for line in lines]
