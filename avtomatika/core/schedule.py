"""Schedules: when jobs of a blueprint, or single tasks, are created. Times are milliseconds since the epoch."""

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import cached_property
from itertools import count, takewhile
from typing import Any, Self
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from avtomatika.errors import HandlerError, InvalidRequestError

from .jsonable import as_json
from .names import is_name, is_user_name
from .times import LATEST_MS, LONGEST_SECONDS, seconds_of

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
#: The label that jobs of a schedule have.
LABEL = "schedule"
#: Maximum labels of a schedule, besides that one.
_MOST_LABELS = 31
#: First part of the ticks before a time that is searched for the latest ones.
_WINDOW_MS = 3_600_000


class Overlap(StrEnum):
    """What happens to a tick while the job of the previous tick runs."""

    SKIP = "skip"
    QUEUE = "queue"
    CANCEL_PREVIOUS = "cancel_previous"
    ALLOW = "allow"


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
    interval: float | str | timedelta | None = None
    daily_at: str | None = None
    weekly_days: Sequence[str] = ()
    monthly_dates: Sequence[int | str] = ()
    timezone: str = "UTC"
    initial_data: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0
    enabled: bool = True
    catch_up: bool = False
    overlap: Overlap = Overlap.SKIP

    def __post_init__(self) -> None:
        for name in ("weekly_days", "monthly_dates"):
            value = getattr(self, name)
            self._set(name, tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,))
        found = dict[str, list[str]]()
        for name, problem in (*self._wrong_job(), *self._wrong_time()):
            found.setdefault(name, []).append(problem)
        if found:
            name, [problem, *_] = next(iter(found.items()))
            raise InvalidRequestError(f"schedule {self.name!r}: {name}: {problem}", fields=found)

    @classmethod
    def of(cls, name: str, given: Mapping[str, Any]) -> Self:
        """Return the schedule with *given* fields, as in a file or a record. Raises InvalidRequestError."""
        known = {each.name for each in fields(cls)} - {"name"}
        if unknown := sorted(given.keys() - known):
            message = {each: [f"there is no such field; the fields are {', '.join(sorted(known))}"] for each in unknown}
            raise InvalidRequestError(f"schedule {name!r}: unknown field {unknown[0]!r}", fields=message)
        return cls(name=name, **given)

    def given(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults, as JSON, without the name."""
        defaults = Schedule(name="x", skill="x", interval=1)
        shown = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in _JOB_OF}
        changed = {name: value for name, value in shown.items() if value != getattr(defaults, name) or name in _TIMES}
        of = {"skill": self.skill} if self.blueprint is None else {"blueprint": self.blueprint}
        return {**of, **{name: value for name, value in changed.items() if value not in (None, ())}}

    # ------------------------------------------------------------ ticks

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
        window = _WINDOW_MS
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
        days = " on " + ", ".join(map(str, (*self.weekly_days, *self.monthly_dates)))
        if self.daily_at is not None:
            return f"{self.daily_at}{days if self.weekly_days or self.monthly_dates else ''} {self.timezone}"
        return f"every {self.interval} s" if self.cron is None else f"{self.cron} {self.timezone}"

    @property
    def same_ticks_as(self) -> tuple[object, ...]:
        """Equal for schedules with the same ticks."""
        return self.expression, self.interval, self.timezone, self.enabled

    @cached_property
    def _zone(self) -> tzinfo:
        return UTC if self.timezone == "UTC" else ZoneInfo(self.timezone)

    # ------------------------------------------------------------ checks

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _wrong_job(self) -> Iterator[tuple[str, str]]:
        if not is_user_name(self.name):
            yield "name", "may contain letters, digits, '_' and '-', at most 64, and must not start with '_'"
        if (self.blueprint is None) == (self.skill is None):
            yield "blueprint", "give a blueprint or a skill"
        elif not is_user_name(self.skill if self.blueprint is None else self.blueprint):
            yield ("skill" if self.blueprint is None else "blueprint"), "is not a valid name"
        try:
            self._set("initial_data", as_json(self.initial_data, "initial_data"))
        except HandlerError as error:
            yield "initial_data", str(error)
        if not isinstance(self.initial_data, dict):
            yield "initial_data", "must be a JSON object"
        if not isinstance(self.labels, Mapping) or not all(map(_is_label, self.labels.items())):
            yield "labels", "must map names to texts of 1 to 128 printable characters"
        elif LABEL in self.labels or len(self.labels) > _MOST_LABELS:
            yield "labels", f"may have {_MOST_LABELS} names, and not {LABEL!r}, which its jobs get"
        if type(self.priority) is not int or not 0 <= self.priority <= 9:
            yield "priority", "must be 0 to 9; higher is sooner"
        for name in ("enabled", "catch_up"):
            if not isinstance(getattr(self, name), bool):
                yield name, "must be true or false"
        if self.overlap not in list(Overlap):
            yield "overlap", f"must be one of {', '.join(Overlap)}"
        else:
            self._set("overlap", Overlap(self.overlap))

    def _wrong_time(self) -> Iterator[tuple[str, str]]:
        given = [name for name in ("cron", "interval", "daily_at") if getattr(self, name) is not None]
        if len(given) != 1:
            yield (given or ["cron"])[0], "give exactly one of cron, interval and daily_at"
        elif self.interval is not None:
            try:
                self._set("interval", _whole_seconds(self.interval))
            except ValueError as error:
                yield "interval", str(error)
        if self.daily_at is None and (self.weekly_days or self.monthly_dates):
            yield "daily_at", "is missing: weekly_days and monthly_dates need it"
        if self.daily_at is not None and not _is_match("([01][0-9]|2[0-3]):[0-5][0-9]", self.daily_at):
            yield "daily_at", "must be HH:MM, 00:00 to 23:59"
        if not all(day in _DAYS for day in self.weekly_days):
            yield "weekly_days", f"must be some of {', '.join(_DAYS)}"
        if not all(date == "last" or (type(date) is int and 1 <= date <= 31) for date in self.monthly_dates):
            yield "monthly_dates", "must be dates, 1 to 31, or last"
        if self.weekly_days and self.monthly_dates:
            yield "monthly_dates", "cannot be combined with weekly_days: use cron"
        try:
            if not isinstance(self.timezone, str) or self._zone is None:
                raise ValueError
            if self.cron is not None and not (isinstance(self.cron, str) and len(self.cron) <= 200):
                yield "cron", "must be text of at most 200 characters"
            elif self.cron is not None and next(CronSim(self.cron, datetime.fromtimestamp(0, UTC)), None) is None:
                yield "cron", "never happens"
        except CronSimError as error:
            yield "cron", f"{self.cron!r}: {error}; it has minute, hour, day of month, month and day of week"
        except (LookupError, OSError, ValueError):
            yield "timezone", f"there is no time zone {self.timezone!r}; write it as in Europe/Berlin"


#: Fields that say what runs, and fields of which one says when.
_JOB_OF = frozenset({"name", "blueprint", "skill"})
_TIMES = frozenset({"cron", "interval", "daily_at"})


def _whole_seconds(interval: object) -> int:
    seconds = seconds_of(interval) if isinstance(interval, str) else interval
    seconds = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 1 <= seconds <= LONGEST_SECONDS:
        raise ValueError("must be at least one second: a number, or text as in 30s, 15m, 2h or 1d")
    if seconds != int(seconds):
        raise ValueError("must be a whole number of seconds")
    return int(seconds)


def _is_label(label: tuple[object, object]) -> bool:
    name, text = label
    return is_name(name) and isinstance(text, str) and 1 <= len(text) <= 128 and text.isprintable()


def _is_match(pattern: str, text: object) -> bool:
    return isinstance(text, str) and re.fullmatch(pattern, text) is not None
