"""``jobs export`` and ``replay``: a real job, rerun without a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ..support.cli import GREETINGS, Run, Up


@pytest.mark.faults
def test_a_rerun_shows_where_it_differs(up: Callable[..., Up], project: Path, run: Run, run_process: Run) -> None:
    running = up().wait_until_ready()
    token = (project / "var" / "client_token").read_text()
    api = {"AVTOMATIKA_URL": running.url, "CLIENT_TOKEN": token}
    job_id = run("jobs", "submit", "greetings", "name=Ada", **api).stdout.strip()
    run("jobs", "watch", job_id, **api)
    exported = run("jobs", "export", job_id, "-o", "job.json", **api)
    printed = run("jobs", "export", job_id, **api)
    running.end()

    same = run("replay", "job.json")
    (project / "blueprints" / "greetings.py").write_text(GREETINGS.replace('== "nobody"', '== "Ada"'))
    other = run_process("replay", "job.json")
    as_json = run_process("replay", "job.json", "--json")

    assert (exported.code, same.code, other.code, as_json.code) == (0, 0, 1, 1)
    assert json.loads(printed.stdout) == json.loads((project / "job.json").read_text())
    assert "same steps: finished" in same.stderr
    assert [line[0] for line in same.stdout.splitlines()] == [" "] * 5
    assert "different steps: failed" in other.stderr
    first = next(line for line in other.stdout.splitlines() if line.startswith("-"))
    assert first.split() == ["-", "state_entered", "start"]
    assert json.loads(as_json.stdout)["result"] == {"reason": "there is nobody to greet"}


def test_an_invalid_file_is_refused(run: Run, project: Path) -> None:
    (project / "text").write_text("no json")
    (project / "list").write_text("[]")

    assert "text: invalid JSON" in run("replay", "text").stderr
    assert "list: this is not a job" in run("replay", "list").stderr
    assert run("replay", "list").code == 2
    assert run("replay", "nowhere").code == 2
