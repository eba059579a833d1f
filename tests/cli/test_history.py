"""``avtomatika history`` and ``jobs`` with an archive, against everything that ``up`` runs."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from ..support.cli import Run, Up
from ..support.waiting import wait_until

pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed: pip install 'avtomatika[history]'")


def test_ended_jobs_are_archived_shown_and_exported(up: Callable[..., Up], run: Run) -> None:
    everything = up(HISTORY_DATABASE_URI="sqlite:///var/history.db", JOB_TTL_SECONDS="1")
    everything.wait_until_ready()
    made = []
    for n in range(3):
        made.append(run("jobs", "submit", "greetings", f"name=Ann{n}", "--label", f"n={n}").stdout.strip())

    def listed(*options: str) -> list[str]:
        return [each["id"] for each in json.loads(run("jobs", "list", "--json", *options).stdout)]

    wait_until(lambda: listed() == [], 90, "all jobs are archived")

    assert listed("--archived") == made[::-1]
    assert listed("--archived", "--label", "n=1") == made[1:2]
    assert json.loads(run("jobs", "show", made[0], "--json").stdout)["status"] == "finished"
    assert "job_finished" in run("jobs", "history", made[0]).stdout
    exported = [json.loads(line) for line in run("history", "export", "--since", "1d").stdout.splitlines()]
    assert [each["job"]["id"] for each in exported] == made
    assert [each["events"][-1]["event_type"] for each in exported] == ["job_finished"] * 3
    assert (
        "ok       history       ended jobs are archived"
        in run("doctor", HISTORY_DATABASE_URI="sqlite:///var/history.db").stdout
    )
