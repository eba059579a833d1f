"""Limits of times: what timers, time-outs and dates can express."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeGuard

#: Longest time-out, pause or delay: 100 years. A longer one of an action becomes this.
LONGEST_SECONDS = 100 * 365 * 24 * 3600
#: What :func:`is_seconds` accepts, for messages.
SECONDS = f"a number of seconds above 0 and at most {LONGEST_SECONDS}"
#: The last millisecond of the year 9999: no later time has a date.
LATEST_MS = 253_402_300_799_999


def is_seconds(value: object) -> TypeGuard[float]:
    """Whether *value* is a number of seconds that a timer can take.

    >>> [is_seconds(value) for value in (0.5, 60, 0, -1, True, "60", 10**400, float("inf"), float("nan"))]
    [True, True, False, False, False, False, False, False, False]
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= LONGEST_SECONDS


def utc(timestamp_ms: int) -> datetime:
    """*timestamp_ms* since the epoch as a date in UTC; what is out of range becomes the first or the last date.

    >>> utc(10**15).isoformat()
    '9999-12-31T23:59:59.999000+00:00'
    """
    seconds, milliseconds = divmod(min(max(timestamp_ms, 0), LATEST_MS), 1000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=milliseconds * 1000)
