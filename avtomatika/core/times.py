"""Durations and times in users' calls, and the limits of timers, timeouts and dates."""

import re
from datetime import UTC, datetime, timedelta
from typing import TypeGuard

#: A duration as users give it: seconds, or a timedelta.
Duration = float | timedelta
#: Longest timeout or delay: 100 years. Actions reduce a longer one to this.
LONGEST_SECONDS = 100 * 365 * 24 * 3600
#: The range that :func:`is_seconds` accepts, for error messages.
SECONDS = f"a number of seconds above 0 and at most {LONGEST_SECONDS}"
#: The last millisecond of the year 9999, the latest that a datetime can represent.
LATEST_MS = 253_402_300_799_999

_TEXT = re.compile(r"([0-9]{1,6})([smhdw])")
_SECONDS_IN = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def seconds_of(text: str) -> int | None:
    """Convert a duration as text: a number of seconds, minutes, hours, days or weeks.

    >>> seconds_of("90s"), seconds_of("15m"), seconds_of("15")
    (90, 900, None)
    """
    found = _TEXT.fullmatch(text)
    return None if found is None else int(found[1]) * _SECONDS_IN[found[2]]


def in_seconds(duration: Duration) -> float:
    """Convert a duration to seconds.

    >>> in_seconds(90), in_seconds(timedelta(minutes=1.5))
    (90, 90.0)
    """
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def is_seconds(value: object) -> TypeGuard[float]:
    """Return True if *value* is a number of seconds that a timer accepts.

    >>> [is_seconds(value) for value in (0.5, 60, 0, -1, True, "60", 10**400, float("inf"), float("nan"))]
    [True, True, False, False, False, False, False, False, False]
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= LONGEST_SECONDS


def utc(timestamp_ms: int) -> datetime:
    """Convert milliseconds since the epoch to a datetime in UTC, clamped to the range of datetime.

    >>> utc(10**15).isoformat()
    '9999-12-31T23:59:59.999000+00:00'
    """
    seconds, milliseconds = divmod(min(max(timestamp_ms, 0), LATEST_MS), 1000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=milliseconds * 1000)
