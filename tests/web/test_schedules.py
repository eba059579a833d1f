"""``/api/v1/schedules`` through both clients: for operators; what files and code define is changed there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from avtomatika import AsyncClient, Client
from avtomatika.core.schedule import Schedule
from avtomatika.core.schedule_state import ScheduleRecord
from avtomatika.errors import ConflictError, ForbiddenError, InvalidRequestError, NotFoundError
from avtomatika.store import Store

from .conftest import OPERATOR_TOKEN, problem

DAILY = {"blueprint": "nightly", "daily_at": "07:00", "timezone": "Europe/Berlin", "labels": {"team": "a"}}


@pytest.fixture
def api(url: str) -> Iterator[Client]:
    with Client(url, OPERATOR_TOKEN) as client:
        yield client


def defined(store: Store, source: Any) -> None:
    schedule = Schedule(name="poll", blueprint="nightly", interval="1h")
    new = ScheduleRecord(schedule=schedule, source=source)
    assert store.schedules.write(new, new.defined(schedule, source, 0))


def test_a_schedule_is_added_shown_replaced_and_removed(api: Client, store: Store) -> None:
    added = api.put_schedule("report", DAILY)
    [listed] = api.schedules()
    shown = api.schedule("report", ticks=400)
    replaced = api.put_schedule("report", {"skill": "resize", "interval": "15m", "overlap": "queue"})
    api.remove_schedule("report")

    assert added == listed
    assert (added["status"], added["source"], added["timing"]) == ("active", "api", "07:00 Europe/Berlin")
    assert added["definition"] == DAILY
    assert added["next"] == shown["next"][:1]
    hours = {datetime.fromisoformat(tick).hour for tick in shown["next"]}
    assert (len(shown["next"]), hours) == (400, {5, 6})
    assert replaced["definition"] == {"skill": "resize", "interval": 900, "overlap": "queue"}
    assert store.schedules.all() == []


def test_wrong_schedules_are_refused_by_field(api: Client, operator: FlaskClient) -> None:
    for given, field in (
        ({"blueprint": "nightly"}, "cron"),
        ({"blueprint": "nightly", "cron": "0 7"}, "cron"),
        ({"blueprint": "nightly", "interval": 5, "color": "red"}, "color"),
        ({"blueprint": "nightly", "interval": 5, "priority": "high"}, "priority"),
        ({"blueprint": "nightly", "daily_at": "07:00", "weekly_days": "monday"}, "weekly_days"),
        ({"interval": 5}, "blueprint"),
    ):
        with pytest.raises(InvalidRequestError) as refused:
            api.put_schedule("report", given)
        assert field in refused.value.fields

    with pytest.raises(NotFoundError, match="did you mean 'nightly'"):
        api.put_schedule("report", {"blueprint": "nightlly", "interval": 5})
    with pytest.raises(NotFoundError, match="schedule"):
        api.schedule("report")
    problem(operator.put("/api/v1/schedules/_x", json=DAILY), 422, "invalid_request")


@pytest.mark.parametrize(("source", "place"), [("file", "schedules.toml"), ("code", "the code of its blueprint")])
def test_what_a_file_or_code_defines_is_paused_and_run_but_changed_there(
    api: Client, store: Store, source: str, place: str
) -> None:
    defined(store, source)

    with pytest.raises(ConflictError, match=f"'poll' is defined in {place}: change it there"):
        api.put_schedule("poll", DAILY)
    with pytest.raises(ConflictError, match=place):
        api.remove_schedule("poll")

    assert api.pause_schedule("poll")["status"] == "paused"
    assert api.run_schedule("poll")["job_id"] == api.schedule("poll")["last_job_id"]
    assert api.resume_schedule("poll")["status"] == "active"
    assert store.schedules.get("poll").schedule.interval == 3600


def test_a_run_is_a_job_with_the_label_of_the_schedule(api: Client) -> None:
    api.put_schedule("report", DAILY)
    job = api.job(api.run_schedule("report")["job_id"])

    assert (job["labels"], job["client"]) == ({"team": "a", "schedule": "report"}, "_schedules")
    assert job["scheduled_at"] == api.schedule("report")["last_at"]
    assert api.schedule("report")["last_status"] == "pending"
    assert api.run_schedule("report")["job_id"] != job["id"]


def test_a_paused_schedule_has_no_next_tick(api: Client, store: Store) -> None:
    api.put_schedule("report", DAILY)

    assert api.pause_schedule("report")["next"] == []
    assert store.schedules.get("report").check_ms is None
    assert len(api.resume_schedule("report")["next"]) == 1


def test_a_backfill_runs_the_ticks_that_have_not_run(api: Client, store: Store) -> None:
    api.put_schedule("report", DAILY)
    start = datetime(2025, 10, 24, 5, tzinfo=UTC)
    end = start + timedelta(days=4)

    planned = api.backfill("report", start, end, dry_run=True)
    assert api.count_jobs()["total"] == 0
    first = api.backfill("report", start, end - timedelta(days=2))
    whole = api.backfill("report", start, end)

    times = ["2025-10-24T05", "2025-10-25T05", "2025-10-26T06", "2025-10-27T06"]
    assert [run["scheduled_at"][:13] for run in planned] == [run["scheduled_at"][:13] for run in whole] == times
    assert {(run["job_id"], run["existing"]) for run in planned} == {(None, False)}
    assert [run["existing"] for run in whole] == [True, True, False, False]
    assert [run["job_id"] for run in whole[:2]] == [run["job_id"] for run in first]
    assert api.count_jobs()["total"] == 4

    api.put_schedule("report", {**DAILY, "priority": 5})
    again = api.backfill("report", start, end)
    assert {(run["job_id"], run["existing"]) for run in again} == {(None, True)}


def test_a_backfill_is_limited_and_ends_in_the_past(api: Client) -> None:
    api.put_schedule("poll", {"blueprint": "nightly", "interval": 1})
    now = datetime.now(UTC)

    with pytest.raises(InvalidRequestError, match="more than 1000 ticks"):
        api.backfill("poll", now - timedelta(hours=1), now - timedelta(minutes=1))
    with pytest.raises(InvalidRequestError, match="past"):
        api.backfill("poll", now, now + timedelta(hours=1))


def test_an_error_is_shown_in_the_list_and_in_the_overview(api: Client, store: Store) -> None:
    api.put_schedule("report", DAILY)
    store.schedules.change("report", lambda found: replace(found, error="no orchestrator serves the blueprint 'x'"))

    [listed] = api.schedules()
    found = [each for each in api.overview()["problems"] if each["kind"] == "schedule_error"]

    assert listed["error"] == "no orchestrator serves the blueprint 'x'"
    assert [(each["subject"], each["state"]) for each in found] == [("report", "warning")]
    assert "no orchestrator serves" in found[0]["finding"]


def test_schedules_are_for_operators(alice: FlaskClient, url: str) -> None:
    problem(alice.get("/api/v1/schedules"), 403, "forbidden")
    with Client(url, "token-of-alice-in-tests") as client, pytest.raises(ForbiddenError):
        client.put_schedule("report", DAILY)


def test_the_asynchronous_client_has_the_same_operations(url: str) -> None:
    async def use() -> list[str]:
        async with AsyncClient(url, OPERATOR_TOKEN) as client:
            await client.put_schedule("report", DAILY)
            await client.pause_schedule("report")
            return [each["status"] for each in await client.schedules()]

    assert asyncio.run(use()) == ["paused"]
