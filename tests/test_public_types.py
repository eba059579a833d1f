"""mypy finds mistakes in a user's project: the public names are typed, and complete in an editor."""

from __future__ import annotations

import re
import sys
from datetime import timedelta
from pathlib import Path
from subprocess import run

import pytest

import avtomatika
from avtomatika.core.blueprint.actions import Actions

ROOT = Path(__file__).parent.parent
PROJECT = ROOT / "tests/typed_project"
#: The comment on a line of the project that mypy must report, with the codes of the errors.
EXPECTED = re.compile(r"# wrong: ([\w, -]+)$")


def test_mypy_finds_every_mistake_in_a_project_and_nothing_else() -> None:
    files = sorted(PROJECT.glob("*.py"))
    expected = {
        (file.name, number, code)
        for file in files
        for number, line in enumerate(file.read_text().splitlines(), 1)
        for match in EXPECTED.finditer(line)
        for code in match[1].split(", ")
    }

    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--follow-imports=silent"]
    command += [f"--cache-dir={ROOT / '.mypy_cache' / PROJECT.name}", *map(str, files)]
    done = run(command, capture_output=True, text=True, cwd=ROOT)

    reported = re.findall(r"typed_project/([\w.]+):(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE)
    assert {(file, int(number), code) for file, number, code in reported} == expected, done.stdout + done.stderr


def test_every_public_name_is_there() -> None:
    assert all(getattr(avtomatika, name) is not None for name in avtomatika.__all__)


@pytest.mark.parametrize("duration", [90, 90.0, timedelta(seconds=90)])
def test_durations_are_seconds_or_timedeltas(duration: float | timedelta) -> None:
    bp = avtomatika.Blueprint("durations", execution_timeout=duration)
    actions = Actions()
    actions.wait(duration, then="end")

    assert bp.execution_timeout_seconds == 90
    assert actions._recorded[0].seconds == 90  # type: ignore[union-attr]
    assert avtomatika.RetryPolicy(delay=duration).delay_after(1, name="t") <= timedelta(seconds=90)  # type: ignore[operator]
