"""The supervisor forwards output, restarts programs and leaves no process behind."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from time import monotonic

import pytest

from avtomatika.cli.supervisor import Program, Supervisor
from avtomatika.errors import SettingsError

#: Prints its process id and waits for SIGTERM.
STEADY = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
#: The same with a child process, whose id it prints as well.
WITH_A_CHILD = (
    "import os, signal, subprocess, sys;"
    "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()']);"
    "print(os.getpid(), child.pid, flush=True); signal.pause()"
)
DEAF = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), flush=True)
while True:
    signal.pause()
"""


class Stage:
    """A supervisor and what its programs said."""

    def __init__(self, **scripts: str) -> None:
        self.lines: list[tuple[str, str]] = []
        self.is_over = False
        programs = [
            Program(name, (sys.executable, "-c", script), dict(os.environ), stop_seconds=0.5)
            for name, script in scripts.items()
        ]
        self.supervisor = Supervisor(programs, on_line=lambda name, line: self.lines.append((name, line)))
        self.supervisor.start()

    def said_by(self, name: str) -> list[str]:
        return [line for who, line in self.lines if who == name]

    def poll_until(self, condition: Callable[[], object]) -> None:
        deadline = monotonic() + 15
        while not condition():
            assert monotonic() < deadline, self.lines
            self.supervisor.poll(0.05)

    def stop(self) -> None:
        if not self.is_over:
            self.is_over = True
            self.supervisor.stop(in_a_hurry=lambda: False)


@pytest.fixture
def stage() -> Iterator[Callable[..., Stage]]:
    stages: list[Stage] = []

    def make(**scripts: str) -> Stage:
        stages.append(Stage(**scripts))
        return stages[-1]

    yield make
    for each in stages:
        each.stop()


def is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    return True


def test_output_is_forwarded_by_line_with_the_program_name(stage: Callable[..., Stage]) -> None:
    on_stage = stage(one="import sys; print('a\\nb', file=sys.stderr); sys.stdout.write('no end of line')")

    on_stage.poll_until(lambda: len(on_stage.lines) >= 3)

    assert on_stage.said_by("one")[:3] == ["a", "b", "no end of line"]


def test_a_dead_program_is_restarted(stage: Callable[..., Stage]) -> None:
    on_stage = stage(one=STEADY)
    on_stage.poll_until(lambda: on_stage.lines)
    (first,) = on_stage.said_by("one")

    os.kill(int(first), signal.SIGKILL)
    on_stage.poll_until(lambda: len(on_stage.lines) == 3)

    _, farewell, second = on_stage.said_by("one")
    assert farewell == "was killed by SIGKILL, restarting it in 0.5 s"
    assert second != first


def test_the_delay_grows_in_a_crash_loop(stage: Callable[..., Stage]) -> None:
    on_stage = stage(one="raise SystemExit(1)")

    on_stage.poll_until(lambda: len(on_stage.lines) == 2)

    assert on_stage.said_by("one") == [
        "exited with code 1, restarting it in 0.5 s",
        "exited with code 1, restarting it in 1 s",
    ]


def test_a_usage_error_is_not_retried(stage: Callable[..., Stage]) -> None:
    on_stage = stage(one="raise SystemExit(2)")

    with pytest.raises(SettingsError, match="one cannot start; see its message above"):
        on_stage.poll_until(lambda: False)


def test_children_of_a_killed_program_are_killed(stage: Callable[..., Stage]) -> None:
    on_stage = stage(one=WITH_A_CHILD)
    on_stage.poll_until(lambda: on_stage.lines)
    program, child = on_stage.said_by("one")[0].split()

    os.kill(int(program), signal.SIGKILL)
    on_stage.poll_until(lambda: len(on_stage.lines) == 2)

    on_stage.poll_until(lambda: not is_alive(child))


def test_stop_ends_programs_in_reverse_order(stage: Callable[..., Stage]) -> None:
    says_when_it_ends = (
        "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('ends')));"
        "print('begins', flush=True); signal.pause()"
    )
    on_stage = stage(one=says_when_it_ends, two=says_when_it_ends)
    on_stage.poll_until(lambda: len(on_stage.lines) == 2)

    on_stage.stop()

    assert on_stage.lines[2:] == [("two", "ends"), ("one", "ends")]


def test_a_program_that_ignores_sigterm_is_killed(stage: Callable[..., Stage]) -> None:
    on_stage = stage(one=DEAF)
    on_stage.poll_until(lambda: on_stage.lines)

    on_stage.stop()

    assert not is_alive(on_stage.said_by("one")[0])
