"""Records of schedules on the real server: they are replaced only if nobody changed them meanwhile."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from avtomatika.core.schedule import Schedule
from avtomatika.core.schedule_state import ScheduleRecord
from avtomatika.errors import ConflictError, InvalidRequestError, NotFoundError
from avtomatika.store import jobs_at, schedules

from .conftest import House, bp


def added(house: House, name: str = "nightly", next_ms: int | None = 1000, **fields: Any) -> ScheduleRecord:
    schedule = Schedule(name=name, blueprint="video", interval=60, **fields)
    new = ScheduleRecord(schedule=schedule, source="api", next_ms=next_ms)
    assert house.store.schedules.write(new, new)
    return house.store.schedules.get(name)


def test_a_schedule_is_listed_and_found(house: House) -> None:
    second, first = added(house, "weekly"), added(house, "nightly", initial_data={"n": 1})

    assert house.store.schedules.all() == [first, second]
    with pytest.raises(NotFoundError, match="did you mean 'nightly'"):
        house.store.schedules.get("nigthly")


def test_only_schedules_that_are_due_are_found_first_ones_first(house: House) -> None:
    for name, next_ms in {"c": 3000, "b": 2000, "a": 1000, "none": None}.items():
        added(house, name, next_ms)

    assert [each.schedule.name for each in house.store.schedules.due(2000)] == ["a", "b"]
    assert house.store.schedules.due(999) == []


def test_a_record_that_was_changed_meanwhile_is_not_replaced(house: House) -> None:
    before = added(house)
    after = replace(before, next_ms=2000)
    assert house.store.schedules.write(before, after)

    assert not house.store.schedules.write(before, replace(before, next_ms=3000))
    assert not house.store.schedules.write(before, None)
    assert not house.store.schedules.write(replace(after, stored=b""), after)
    assert house.store.schedules.get("nightly").next_ms == 2000


def test_a_deleted_schedule_is_not_due(house: House) -> None:
    assert house.store.schedules.write(added(house), None)

    assert house.store.schedules.due(5000) == house.store.schedules.all() == []
    assert house.client.keys("{avt.g0}:schedules*") == []


def test_a_change_is_repeated_if_the_record_changes_meanwhile(house: House) -> None:
    added(house)
    others = iter([2000, 3000])

    def pause(record: ScheduleRecord) -> ScheduleRecord:
        for next_ms in others:
            house.store.schedules.write(record, replace(record, next_ms=next_ms))
            break
        return replace(record, is_paused=True)

    house.store.schedules.change("nightly", pause)

    found = house.store.schedules.get("nightly")
    assert (found.next_ms, found.is_paused) == (3000, True)


def test_schedules_are_bounded_in_number_and_size(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "_MOST", 2)
    first, _ = added(house, "a"), added(house, "b")

    with pytest.raises(ConflictError, match="2 schedules already"):
        added(house, "c")
    assert house.store.schedules.write(first, replace(first, next_ms=5))
    with pytest.raises(InvalidRequestError, match="65536"):
        house.store.schedules.write(first, replace(first, error="x" * 70_000))


def test_a_record_of_another_version_hides_no_other(house: House, caplog: pytest.LogCaptureFixture) -> None:
    kept = added(house)
    house.client.hset("{avt.g0}:schedules", "odd", b'{"name": "odd", "schedule": {"moon": "full"}, "waiting": []}')
    house.client.hset("{avt.g0}:schedules", "odder", b"[]")
    house.client.zadd("{avt.g0}:schedules:due", {"odd": 1, "odder": 2, "gone": 3})

    assert house.store.schedules.all() == house.store.schedules.due(5000) == [kept]
    assert [record.getMessage() for record in caplog.records] == [
        f"ignoring the schedule {name!r}, which this version cannot read" for name in ("odd", "odder")
    ]


def test_a_tick_creates_one_job(house: House) -> None:
    schedule = Schedule(name="nightly", blueprint="video", interval=60, labels={"team": "a"}, priority=3)
    news = jobs_at(schedule, bp.plan, [60_000, 120_000])
    first = [house.store.create(new) for new in news]
    again = [house.store.create(new) for new in news]

    assert [each.job_id for each in again] == [each.job_id for each in first]
    assert all(each.existing for each in again)
    job = house.job(first[1].job_id)
    assert (job.client, job.priority, job.scheduled_ms) == ("_schedules", 3, 120_000)
    assert job.labels == {"team": "a", "schedule": "nightly"}
