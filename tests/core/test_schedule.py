"""Ticks of schedules: daylight saving in both directions, leap days, intervals, and refused definitions."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from avtomatika.core.schedule import Schedule
from avtomatika.errors import InvalidRequestError

#: Zone -> the days on which clocks go forward and back in 2026, and the offsets of winter and summer.
ZONES = {
    "Europe/Berlin": ("2026-03-29", "2026-10-25", "+01:00", "+02:00"),
    "America/New_York": ("2026-03-08", "2026-11-01", "-05:00", "-04:00"),
}
#: The first hour that is skipped, and repeated.
HOURS = {"Europe/Berlin": (2, 2), "America/New_York": (2, 1)}


def made(**given: Any) -> Schedule:
    return Schedule(name="nightly", blueprint="report", **given)


def ms(text: str, zone: str = "UTC") -> int:
    at = datetime.fromisoformat(text)
    return round((at if at.tzinfo else at.replace(tzinfo=ZoneInfo(zone))).timestamp() * 1000)


def ticks(schedule: Schedule, after: str, count: int = 3) -> list[str]:
    """The first ticks after *after*, by the wall clock of the schedule's zone."""
    zone = ZoneInfo(schedule.timezone)
    found = islice(schedule.ticks(ms(after, schedule.timezone)), count)
    return [datetime.fromtimestamp(tick / 1000, zone).isoformat(timespec="minutes") for tick in found]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("kind", ["daily_at", "cron"])
def test_a_time_in_the_skipped_hour_is_right_after_it(zone: str, kind: str) -> None:
    forward, _, winter, summer = ZONES[zone]
    schedule = made(timezone=zone, **({"daily_at": "02:30"} if kind == "daily_at" else {"cron": "30 2 * * *"}))
    before, after = (f"{datetime.fromisoformat(forward) + timedelta(days=days):%Y-%m-%d}" for days in (-1, 1))

    assert ticks(schedule, f"{before}T00:00") == [
        f"{before}T02:30{winter}",
        f"{forward}T03:00{summer}",
        f"{after}T02:30{summer}",
    ]


@pytest.mark.parametrize("zone", ZONES)
def test_a_time_in_the_repeated_hour_happens_once_the_first_time(zone: str) -> None:
    _, back, winter, summer = ZONES[zone]
    hour = HOURS[zone][1]
    schedule = made(timezone=zone, daily_at=f"{hour:02}:30")
    following = f"{datetime.fromisoformat(back) + timedelta(days=1):%Y-%m-%d}"
    expected = [f"{back}T{hour:02}:30{summer}", f"{following}T{hour:02}:30{winter}"]

    assert ticks(schedule, f"{back}T00:00", 2) == expected
    for late in (f"{back}T{hour:02}:45{summer}", f"{back}T{hour:02}:15{winter}", f"{back}T{hour:02}:45{winter}"):
        assert ticks(schedule, late, 1) == expected[1:]


@pytest.mark.parametrize("zone", ZONES)
def test_every_quarter_of_an_hour_goes_on_through_both_changes(zone: str) -> None:
    schedule = made(timezone=zone, cron="*/15 * * * *")
    for day in ZONES[zone][:2]:
        start = ms(day, zone)

        assert list(schedule.ticks_between(start, start + 6 * 3_600_000)) == [
            start + quarter * 900_000 for quarter in range(1, 25)
        ]


@pytest.mark.parametrize("zone", [*ZONES, "Asia/Kolkata", "UTC"])
@pytest.mark.parametrize(("given", "days"), [({"interval": "1d"}, 1), ({"interval": timedelta(hours=6)}, 0.25)])
def test_intervals_count_elapsed_time_from_the_epoch(zone: str, given: dict[str, Any], days: float) -> None:
    schedule, start = made(timezone=zone, **given), ms("2026-03-07T13:00Z")

    found = list(islice(schedule.ticks(start), 200))

    assert {tick % (days * 86_400_000) for tick in found} == {0}
    assert {later - earlier for earlier, later in pairwise(found)} == {days * 86_400_000}


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "UTC", "Africa/Lagos"])
def test_zones_without_daylight_saving_have_days_of_24_hours(zone: str) -> None:
    found = list(islice(made(timezone=zone, daily_at="02:30").ticks(ms("2026-01-01", zone)), 365))

    assert found[0] == ms("2026-01-01T02:30", zone)
    assert found[-1] - found[0] == 364 * 86_400_000


@pytest.mark.parametrize("dates", [{"cron": "0 7 29 2 *"}, {"daily_at": "07:00", "monthly_dates": [29]}])
def test_the_29th_of_february_is_in_leap_years(dates: dict[str, Any]) -> None:
    found = [tick[:10] for tick in ticks(made(**dates), "2027-01-30", 60) if tick[5:7] == "02"]

    assert found[:2] == ["2028-02-29", "2032-02-29"]


def test_a_month_without_the_date_is_left_out_but_has_a_last_day() -> None:
    assert [tick[:10] for tick in ticks(made(daily_at="07:00", monthly_dates=[31]), "2026-01-01", 3)] == [
        "2026-01-31",
        "2026-03-31",
        "2026-05-31",
    ]
    assert [tick[:10] for tick in ticks(made(daily_at="07:00", monthly_dates=[1, "last"]), "2026-01-30", 4)] == [
        "2026-01-31",
        "2026-02-01",
        "2026-02-28",
        "2026-03-01",
    ]


def test_days_of_the_week() -> None:
    schedule = made(daily_at="07:00", weekly_days=["sun", "wed"], timezone="Europe/Berlin")

    assert ticks(schedule, "2026-11-30") == [
        "2026-12-02T07:00+01:00",
        "2026-12-06T07:00+01:00",
        "2026-12-09T07:00+01:00",
    ]


def test_cron_may_have_seconds() -> None:
    start = ms("2026-11-30T00:00Z")

    assert list(islice(made(cron="*/20 * * * * *").ticks(start), 3)) == [start + n * 20_000 for n in (1, 2, 3)]


def test_a_tick_is_after_the_given_time_and_the_end_of_a_range_counts() -> None:
    schedule, start = made(interval=60), ms("2026-11-30T00:00Z")

    assert schedule.next_after(start) == start + 60_000
    assert schedule.next_after(start - 1) == start
    assert schedule.next_after(start + 500) == start + 60_000
    assert list(schedule.ticks_between(start, start + 120_000)) == [start + 60_000, start + 120_000]


@pytest.mark.parametrize(
    "given", [{"cron": "* * * * *"}, {"interval": 1}, {"cron": "0 0 29 2 *"}, {"daily_at": "02:30"}]
)
def test_the_latest_ticks_are_found_without_walking_through_all(given: dict[str, Any]) -> None:
    schedule, end = made(**given, timezone="Europe/Berlin"), ms("2026-11-30T00:00Z")
    start = end - 20_000_000

    assert schedule.latest(start, end, 3) == list(schedule.ticks_between(start, end))[-3:]
    assert len(schedule.latest(0, end, 10)) == 10


def test_there_are_no_ticks_after_the_last_year() -> None:
    for given in ({"cron": "0 0 1 1 *"}, {"interval": "1d"}, {"cron": "0 * * * *", "timezone": "America/New_York"}):
        assert made(**given).next_after(ms("9999-12-31T23:30Z")) is None


@pytest.mark.parametrize(
    ("given", "name", "part"),
    [
        ({}, "cron", "exactly one"),
        ({"cron": "0 7 * * *", "interval": 5}, "cron", "exactly one"),
        ({"cron": "0 7 * *"}, "cron", "fields"),
        ({"cron": "61 7 * * *"}, "cron", "minute"),
        ({"cron": "0 0 31 2 *"}, "cron", "day"),
        ({"cron": 7}, "cron", "fields"),
        ({"interval": 0}, "interval", "whole seconds"),
        ({"interval": 1.5}, "interval", "whole"),
        ({"interval": True}, "interval", "whole seconds"),
        ({"interval": "soon"}, "interval", "15m"),
        ({"daily_at": "7:00"}, "daily_at", "HH:MM"),
        ({"daily_at": "24:00"}, "daily_at", "HH:MM"),
        ({"cron": "0 7 * * *", "weekly_days": ["mon"]}, "daily_at", "need it"),
        ({"daily_at": "07:00", "weekly_days": ["monday", {}]}, "weekly_days", "mon"),
        ({"daily_at": "07:00", "monthly_dates": [32]}, "monthly_dates", "1 to 31"),
        (
            {"daily_at": "07:00", "monthly_dates": [1], "weekly_days": ["mon"]},
            "monthly_dates",
            "with weekly_days use cron",
        ),
        ({"interval": 5, "timezone": "Europe/Atlantis"}, "timezone", "Atlantis"),
        ({"interval": 5, "timezone": 5}, "timezone", "5"),
        ({"interval": 5, "timezone": "../../etc/passwd"}, "timezone", "passwd"),
        ({"interval": 5, "skill": "resize"}, "blueprint", "or a skill"),
        ({"interval": 5, "labels": {"schedule": "x"}}, "labels", "schedule"),
        ({"interval": 5, "labels": {"a b": "x"}}, "labels", "names"),
        ({"interval": 5, "priority": 10}, "priority", "0 to 9"),
        ({"interval": 5, "enabled": "yes"}, "enabled", "true or false"),
        ({"interval": 5, "overlap": "wait"}, "overlap", "queue"),
        ({"interval": 5, "initial_data": {"at": 3j}}, "initial_data", "complex"),
        ({"interval": 5, "initial_data": [1]}, "initial_data", "object"),
    ],
)
def test_a_wrong_definition_is_refused_by_field(given: dict[str, Any], name: str, part: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        made(**given)

    assert part in str(refused.value.fields[name])


def test_unknown_fields_and_names_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="unknown field 'corn'"):
        Schedule.of("nightly", {"blueprint": "report", "corn": "0 7 * * *"})
    for name in ("", "_nightly", "a b", "x" * 65):
        with pytest.raises(InvalidRequestError):
            Schedule(name=name, blueprint="report", interval=5)


@pytest.mark.parametrize(
    "given",
    [
        {"interval": "15m", "overlap": "queue", "labels": {"team": "a"}, "initial_data": {"n": [1]}},
        {"daily_at": "07:00", "monthly_dates": [1, "last"], "timezone": "Europe/Berlin", "enabled": False},
        {"cron": "0 7 * * 1-5", "catch_up": True, "priority": 9},
    ],
)
def test_a_definition_is_kept_as_json(given: dict[str, Any]) -> None:
    assert Schedule.of("nightly", made(**given).given()) == made(**given)
