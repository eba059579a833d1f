"""Decisions about due ticks: downtimes, overlaps, and changes of definitions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from avtomatika.core.schedule import Schedule
from avtomatika.core.schedule_state import ScheduleRecord, decide

MINUTE = 60_000
NOW = 1_795_996_800_000  # a full minute


def record(interval: int = 60, next_ms: int | None = NOW, **fields: Any) -> ScheduleRecord:
    names = ("waiting", "last_job_id", "skipped", "is_paused")
    state = {name: fields.pop(name) for name in names if name in fields}
    schedule = Schedule(name="poll", blueprint="shop", interval=interval, **fields)
    return ScheduleRecord(schedule=schedule, source="api", next_ms=next_ms, **state)


def run(found: ScheduleRecord, now_ms: int = NOW, *, is_running: bool = False) -> tuple[list[int], ScheduleRecord]:
    ticks, after = decide(found, now_ms=now_ms, is_running=is_running)
    return list(ticks), after


def test_a_due_tick_runs_and_the_next_one_follows() -> None:
    ticks, after = run(record())

    assert ticks == [NOW]
    assert (after.next_ms, after.check_ms, after.skipped) == (NOW + MINUTE, NOW + MINUTE, 0)
    assert run(after) == ([], after)


def test_after_a_downtime_only_the_latest_missed_tick_runs() -> None:
    ticks, after = run(record(next_ms=NOW - 100 * MINUTE, overlap="allow"), NOW + 30_000)

    assert ticks == [NOW]
    assert after.next_ms == NOW + MINUTE


def test_ticks_that_are_a_moment_late_were_not_missed() -> None:
    ticks, _ = run(record(interval=1, next_ms=NOW - 3000, overlap="allow"))

    assert ticks == [NOW - 3000, NOW - 2000, NOW - 1000, NOW]


def test_with_catch_up_all_missed_ticks_run_oldest_first_in_parts() -> None:
    found = record(next_ms=NOW - 249 * MINUTE, overlap="allow", catch_up=True)
    ticks: list[int] = []
    for _ in range(3):
        part, found = run(found)
        assert len(part) <= 100
        ticks += part

    assert ticks == [NOW - n * MINUTE for n in range(249, -1, -1)]
    assert found.next_ms == NOW + MINUTE


def test_catch_up_has_a_limit() -> None:
    ticks, _ = run(record(next_ms=NOW - 100_000 * MINUTE, overlap="allow", catch_up=True))

    assert ticks[0] == NOW - 999 * MINUTE


def test_skip_counts_the_ticks_while_the_previous_job_runs() -> None:
    ticks, after = run(record(skipped=3), is_running=True)

    assert (ticks, after.skipped, after.next_ms) == ([], 4, NOW + MINUTE)
    assert run(record(skipped=3))[1].skipped == 3


def test_queue_runs_one_tick_after_the_other() -> None:
    ticks, after = run(record(overlap="queue"), is_running=True)
    assert (ticks, after.waiting, after.check_ms) == ([], (NOW,), NOW + 1000)

    ticks, after = run(after, NOW + MINUTE)
    assert (ticks, after.waiting) == ([NOW], (NOW + MINUTE,))

    ticks, after = run(after, NOW + MINUTE + 5000)
    assert (ticks, after.waiting, after.check_ms) == ([NOW + MINUTE], (), NOW + 2 * MINUTE)


def test_at_most_a_hundred_ticks_wait() -> None:
    waiting = tuple(NOW - n * MINUTE for n in range(100, 0, -1))

    _, after = run(record(overlap="queue", waiting=waiting), is_running=True)

    assert after.waiting == (*waiting[1:], NOW)
    assert after.skipped == 1


@pytest.mark.parametrize("is_running", [True, False])
def test_cancel_previous_runs_the_latest_tick(is_running: bool) -> None:
    ticks, after = run(record(interval=1, next_ms=NOW - 2000, overlap="cancel_previous"), is_running=is_running)

    assert (ticks, after.skipped) == ([NOW], 2)


def test_allow_runs_ticks_while_the_previous_job_runs() -> None:
    assert run(record(overlap="allow"), is_running=True)[0] == [NOW]


def test_a_paused_or_disabled_schedule_is_never_looked_at() -> None:
    paused = record(next_ms=NOW - 100 * MINUTE).paused(True, NOW)
    assert (paused.status, paused.next_ms, paused.check_ms) == ("paused", None, None)
    assert paused.paused(False, NOW + 1).next_ms == NOW + MINUTE
    late = record(next_ms=NOW - 100 * MINUTE)
    assert late.paused(False, NOW) == late

    disabled = record().defined(replace(record().schedule, enabled=False), "file", NOW)
    assert (disabled.status, disabled.check_ms) == ("disabled", None)
    assert disabled.paused(False, NOW).check_ms is None


def test_a_definition_with_other_ticks_starts_from_now_and_keeps_its_state() -> None:
    before = record(next_ms=NOW - 5 * MINUTE, skipped=2, last_job_id="g0-1")
    same = before.defined(replace(before.schedule, initial_data={"n": 1}), "file", NOW)
    other = before.defined(replace(before.schedule, interval="2m"), "file", NOW)

    assert (same.next_ms, same.source, same.skipped, same.last_job_id) == (NOW - 5 * MINUTE, "file", 2, "g0-1")
    assert (other.next_ms, other.skipped) == (NOW + 2 * MINUTE, 2)


def test_a_record_is_kept_as_json() -> None:
    found = record(overlap="queue", waiting=(NOW - MINUTE,), skipped=1)
    text = orjson.dumps(found.dump())

    assert ScheduleRecord.load(orjson.loads(text), b"") == found
