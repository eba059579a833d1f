"""Schedules: when jobs of a blueprint, or single tasks, are created. Times are milliseconds since the epoch."""

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, tzinfo
from functools import cached_property
from itertools import count, starmap, takewhile
from typing import Any, Literal, Self, get_args
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from avtomatika.errors import HandlerError, InvalidRequestError

from .jsonable import as_json
from .names import is_label, is_user_name
from .times import LATEST_MS, Duration, in_seconds, is_seconds, seconds_of

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
#: The label that jobs of a schedule have, and how many others they may have.
LABEL, _MOST_LABELS = "schedule", 31


#: What happens to a tick while the job of the previous tick runs.
Overlap = Literal["skip", "queue", "cancel_previous", "allow"]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Creates a job of *blueprint*, or a task of *skill*, at each of its ticks.

    Ticks are given by exactly one of *cron* (5 fields, or 6 with seconds first), *interval* (seconds, a timedelta, or
    text such as ``15m``; whole seconds, counted from the Unix epoch), and *daily_at* (``HH:MM``), which *weekly_days*
    (``mon`` to ``sun``) or *monthly_dates* (1 to 31, or ``last``) may restrict. A month without the date is left out.

    In *timezone*, a fixed time within the hour that daylight saving skips is right after it, and one within the
    repeated hour happens once, the first time. Intervals count elapsed time.

    After a downtime only the latest missed tick runs, with *catch_up* all of them. Raises InvalidRequestError.
    """

    name: str
    blueprint: str | None = None
    skill: str | None = None
    cron: str | None = None
    interval: Duration | str | None = None
    daily_at: str | None = None
    weekly_days: Sequence[str] = ()
    monthly_dates: Sequence[int | str] = ()
    timezone: str = "UTC"
    initial_data: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0
    enabled: bool = True
    catch_up: bool = False
    overlap: Overlap = "skip"

    def __post_init__(self) -> None:
        found = dict[str, list[str]]()
        for name, problem in (*self._problems_of_job(), *self._problems_of_time()):
            found.setdefault(name, []).append(problem)
        if found:
            name, [problem, *_] = next(iter(found.items()))
            raise InvalidRequestError(f"schedule {self.name!r}: {name}: {problem}", fields=found)

    @classmethod
    def of(cls, name: str, given: Mapping[str, Any]) -> Self:
        """Return the schedule with *given* fields, as in a file or a record. Raises InvalidRequestError."""
        known = {each.name for each in fields(cls)[1:]}
        if unknown := sorted(given.keys() - known):
            message = f"there is no such field; the fields are {', '.join(sorted(known))}"
            raise InvalidRequestError(
                f"schedule {name!r}: unknown field {unknown[0]!r}", fields={unknown[0]: [message]}
            )
        return cls(name=name, **given)

    def given(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults, as JSON, without the name."""
        found = {each: getattr(self, each.name) for each in fields(self)[1:]}
        return {each.name: value for each, value in found.items() if value not in (each.default, {})}

    def ticks(self, after_ms: int) -> Iterator[int]:
        """Yield the ticks after *after_ms* in order; there may be none."""
        if isinstance(self.interval, int):
            step = self.interval * 1000
            yield from takewhile(LATEST_MS.__ge__, count((after_ms // step + 1) * step, step))
            return
        last = after_ms
        try:
            for tick in CronSim(self.expression, datetime.fromtimestamp(after_ms // 1000, self._zone)):
                at = round(tick.timestamp()) * 1000
                if at > last:  # within the repeated hour, its search starts with the first one
                    last = at
                    yield at
        except (OverflowError, ValueError):  # the end of the year 9999
            return

    def next_after(self, after_ms: int) -> int | None:
        """Return the first tick after *after_ms*."""
        return next(self.ticks(after_ms), None)

    def ticks_between(self, after_ms: int, until_ms: int) -> Iterator[int]:
        """Yield the ticks after *after_ms*, up to and including *until_ms*."""
        return takewhile(until_ms.__ge__, self.ticks(after_ms))

    def latest(self, after_ms: int, until_ms: int, most: int) -> list[int]:
        """Return the last ticks between these times, at most *most*, without walking through a long downtime."""
        window = 3_600_000
        while True:
            start = max(after_ms, until_ms - window)
            found = deque(self.ticks_between(start, until_ms), maxlen=most)
            if len(found) == most or start == after_ms:
                return list(found)
            window *= 4

    @cached_property
    def expression(self) -> str:
        """The cron expression of its ticks; empty for an interval."""
        if self.cron is not None or self.daily_at is None:
            return self.cron or ""
        hour, minute = map(int, self.daily_at.split(":"))
        days = ",".join(str((_DAYS.index(day) + 1) % 7) for day in self.weekly_days)
        dates = ",".join("L" if date == "last" else str(date) for date in self.monthly_dates)
        return f"{minute} {hour} {dates or '*'} * {days or '*'}"

    @property
    def timing(self) -> str:
        """When it runs, for people."""
        words = (self.cron or self.daily_at, *self.weekly_days, *self.monthly_dates, self.timezone)
        return f"every {self.interval} s" if self.interval is not None else " ".join(map(str, words))

    @cached_property
    def _zone(self) -> tzinfo:
        return UTC if self.timezone == "UTC" else ZoneInfo(str(self.timezone))

    def _problems_of_job(self) -> Iterator[tuple[str, str]]:
        if not is_user_name(self.name):
            yield "name", "may contain letters, digits, '_' and '-', at most 64, and must not start with '_'"
        if (self.blueprint is None) == (self.skill is None):
            yield "blueprint", "give a blueprint or a skill"
        elif not is_user_name(self.blueprint or self.skill):
            yield ("skill" if self.blueprint is None else "blueprint"), "is not a valid name"
        try:
            object.__setattr__(self, "initial_data", as_json(self.initial_data, "initial_data"))
        except HandlerError as error:
            yield "initial_data", str(error)
        labels = self.labels if isinstance(self.labels, dict) else {"": ""}
        rules = (
            ("initial_data", isinstance(self.initial_data, dict), "must be a JSON object"),
            ("labels", len(labels) <= _MOST_LABELS and LABEL not in labels, f"may have {_MOST_LABELS}, not {LABEL!r}"),
            (
                "labels",
                all(starmap(is_label, labels.items())),
                "must map names to texts of 1 to 128 printable characters",
            ),
            ("priority", type(self.priority) is int and 0 <= self.priority <= 9, "must be a number, 0 to 9"),
            ("enabled", isinstance(self.enabled, bool), "must be true or false"),
            ("catch_up", isinstance(self.catch_up, bool), "must be true or false"),
            ("overlap", self.overlap in get_args(Overlap), f"must be one of {', '.join(get_args(Overlap))}"),
        )
        yield from ((name, problem) for name, is_right, problem in rules if not is_right)

    def _problems_of_time(self) -> Iterator[tuple[str, str]]:
        for name in ("weekly_days", "monthly_dates"):
            value = getattr(self, name)
            object.__setattr__(self, name, tuple(value) if isinstance(value, list | tuple) else (value,))
        given = [name for name in ("cron", "interval", "daily_at") if getattr(self, name) is not None]
        is_time = isinstance(self.daily_at, str) and re.fullmatch("([01][0-9]|2[0-3]):[0-5][0-9]", self.daily_at)
        dates = (date == "last" or (type(date) is int and 1 <= date <= 31) for date in self.monthly_dates)
        if len(given) != 1:
            yield (given or ["cron"])[0], "give exactly one of cron, interval and daily_at"
        if not is_time and (self.daily_at is not None or self.weekly_days or self.monthly_dates):
            yield "daily_at", "must be HH:MM, 00:00 to 23:59; weekly_days and monthly_dates need it"
        if not all(day in _DAYS for day in self.weekly_days):
            yield "weekly_days", f"must be some of {', '.join(_DAYS)}"
        if not all(dates) or (self.weekly_days and self.monthly_dates):
            yield "monthly_dates", "must be dates, 1 to 31, or last; with weekly_days use cron"
        seconds = seconds_of(self.interval) if isinstance(self.interval, str) else in_seconds(self.interval or 0)
        if is_seconds(seconds) and seconds == int(seconds):
            object.__setattr__(self, "interval", int(seconds))
        elif self.interval is not None:
            yield "interval", "must be whole seconds, or text as in 30s, 15m, 2h or 1d"
        try:
            CronSim(
                str(self.cron)[:200] if self.cron is not None else "0 0 * * *", datetime.fromtimestamp(0, self._zone)
            )
        except CronSimError as error:
            yield "cron", f"{self.cron!r}: {error}; it has minute, hour, day of month, month and day of week"
        except (LookupError, OSError, ValueError):
            yield "timezone", f"there is no time zone {self.timezone!r}; write it as in Europe/Berlin"
