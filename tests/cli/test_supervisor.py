"""The supervisor: passes on what programs say, restarts what dies, leaves nothing behind."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from time import monotonic

import pytest

from avtomatika.cli.supervisor import Program, Supervisor
from avtomatika.errors import SettingsError

#: Says its process id, and ends at SIGTERM.
STEADY = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
#: The same, with a child of its own, whose id it says as well.
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


def test_what_programs_say_is_passed_on_line_by_line_with_their_names(stage: Callable[..., Stage]) -> None:
    on_stage = stage(one="import sys; print('a\\nb', file=sys.stderr); sys.stdout.write('no end of line')")

    on_stage.poll_until(lambda: len(on_stage.lines) >= 3)

    assert on_stage.said_by("one")[:3] == ["a", "b", "no end of line"]


def test_what_dies_is_started_again(stage: Callable[..., Stage]) -> None:
    on_stage = stage(one=STEADY)
    on_stage.poll_until(lambda: on_stage.lines)
    (first,) = on_stage.said_by("one")

    os.kill(int(first), signal.SIGKILL)
    on_stage.poll_until(lambda: len(on_stage.lines) == 3)

    _, farewell, second = on_stage.said_by("one")
    assert farewell == "was killed by SIGKILL, restarting it in 0.5 s"
    assert second != first


def test_the_pause_grows_while_it_keeps_dying(stage: Callable[..., Stage]) -> None:
    on_stage = stage(one="raise SystemExit(1)")

    on_stage.poll_until(lambda: len(on_stage.lines) == 2)

    assert on_stage.said_by("one") == [
        "exited with code 1, restarting it in 0.5 s",
        "exited with code 1, restarting it in 1 s",
    ]


def test_one_that_was_told_nonsense_is_not_tried_again(stage: Callable[..., Stage]) -> None:
    on_stage = stage(one="raise SystemExit(2)")

    with pytest.raises(SettingsError, match="one cannot start; see its message above"):
        on_stage.poll_until(lambda: False)


def test_what_a_killed_program_leaves_behind_goes_with_it(stage: Callable[..., Stage]) -> None:
    on_stage = stage(one=WITH_A_CHILD)
    on_stage.poll_until(lambda: on_stage.lines)
    program, child = on_stage.said_by("one")[0].split()

    os.kill(int(program), signal.SIGKILL)
    on_stage.poll_until(lambda: len(on_stage.lines) == 2)

    on_stage.poll_until(lambda: not is_alive(child))


def test_stopping_ends_all_in_reverse_order(stage: Callable[..., Stage]) -> None:
    says_when_it_ends = (
        "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('ends')));"
        "print('begins', flush=True); signal.pause()"
    )
    on_stage = stage(one=says_when_it_ends, two=says_when_it_ends)
    on_stage.poll_until(lambda: len(on_stage.lines) == 2)

    on_stage.stop()

    assert on_stage.lines[2:] == [("two", "ends"), ("one", "ends")]


def test_one_that_will_not_end_is_killed_after_its_time(stage: Callable[..., Stage]) -> None:
    on_stage = stage(one=DEAF)
    on_stage.poll_until(lambda: on_stage.lines)

    on_stage.stop()

    assert not is_alive(on_stage.said_by("one")[0])
