"""``avtomatika schedules`` and the schedules.toml of the orchestrator."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from avtomatika.cli.definition_files import schedules_of_file
from avtomatika.errors import SettingsError
from avtomatika.tokens import reloading_toml

from ..support.cli import Run


@pytest.fixture
def there(run: Run, redis_url: str) -> Callable[..., str]:
    """Run a command against a server; return what it prints."""

    def there(*args: str, code: int = 0) -> str:
        done = run("schedules", *args, REDIS_URL=redis_url)
        assert done.code == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    return there


def test_schedules_are_added_listed_paused_and_removed(there: Callable[..., str]) -> None:
    there("add", "poll", "skill=fetch", "interval=15m", 'initial_data:={"n": 2}', 'labels:={"team": "a"}')
    there("add", "pay", "skill=pay", "daily_at=07:00", 'monthly_dates:=[1, "last"]', "timezone=Asia/Kolkata",
          "overlap=queue", "catch_up:=true")  # fmt: skip

    pay, poll = json.loads(there("list", "--json"))
    table = there("list")
    ticks = there("next", "pay", "--count", "4").splitlines()
    paused, resumed = there("pause", "poll"), there("resume", "poll")
    job_id = there("run", "poll").strip()
    there("remove", "pay")

    assert poll["definition"] == {
        "skill": "fetch",
        "interval": 900,
        "initial_data": {"n": 2},
        "labels": {"team": "a"},
    }
    assert pay["definition"]["monthly_dates"] == [1, "last"]
    assert (pay["definition"]["catch_up"], pay["definition"]["overlap"]) == (True, "queue")
    assert "every 900 s" in table
    assert {tick[10:] for tick in ticks} == {"T07:00:00+05:30"}
    assert ("paused" in paused, "active" in resumed) == (True, True)
    [left] = json.loads(there("list", "--json"))
    assert (left["name"], left["last_job_id"]) == ("poll", job_id)


def test_a_backfill_takes_times_of_the_schedules_zone(there: Callable[..., str]) -> None:
    there("add", "pay", "skill=pay", "daily_at=07:00", "timezone=Asia/Kolkata")

    dry = there("backfill", "pay", "--from", "2025-11-01", "--to", "2025-11-03T07:00+05:30", "--dry-run")
    done = json.loads(there("backfill", "pay", "--from", "2025-11-01", "--to", "2025-11-03", "--json"))

    assert dry.count("T01:30:00.000Z") == 3
    assert [run["existing"] for run in done] == [False, False]


def test_errors_name_the_field(there: Callable[..., str]) -> None:
    assert "cron" in there("add", "poll", "skill=fetch", "cron=0 7", code=2)
    assert "no schedule 'pol'" in there("pause", "pol", code=4)


# ---------------------------------------------------------------- the file

FILE = '[nightly]\nblueprint = "report"\ncron = "0 7 * * 1-5"\ntimezone = "Europe/Berlin"\n'


def replaced(path: Path, text: str) -> None:
    """Replace the file, as editors and deployments do; such a version takes effect at once."""
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)


def test_the_file_is_read_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reloading_toml, "CHECK_INTERVAL_SECONDS", 0.0)
    path = tmp_path / "schedules.toml"
    path.write_text(FILE)
    read = schedules_of_file(path)

    first = read()
    assert first is not None
    assert first["nightly"].cron == "0 7 * * 1-5"
    assert read() is first

    replaced(path, FILE.replace("0 7", "61 7"))
    assert read() is first
    assert "line 1: schedule 'nightly': cron" in caplog.text
    assert "the schedules loaded before stay in effect" in caplog.text

    replaced(path, FILE.replace("0 7", "0 8"))
    second = read()
    assert second is not None
    assert second["nightly"].cron == "0 8 * * 1-5"

    replaced(path, "")
    assert read() == {}


def test_without_a_file_there_are_no_schedules_of_it(tmp_path: Path) -> None:
    assert schedules_of_file(tmp_path / "schedules.toml")() is None


@pytest.mark.parametrize("text", ["revoke_all = true", "nightly = 5", "[nightly]\ncolor = 'red'", "[nightly"])
def test_an_invalid_file_is_an_error_at_the_start(tmp_path: Path, text: str) -> None:
    (tmp_path / "schedules.toml").write_text(text)

    with pytest.raises(SettingsError, match=r"schedules\.toml"):
        schedules_of_file(tmp_path / "schedules.toml")


def test_check_names_the_schedules_of_the_file(run: Run, project: Path) -> None:
    (project / "schedules.toml").write_text(FILE)
    done = run("check")
    (project / "schedules.toml").write_text("[nightly]\nskill = 'x'\ninterval = 0")
    refused = run("check")

    assert "schedules.toml: nightly" in done.stdout
    assert (refused.code, "interval" in refused.stderr) == (2, True)
