"""Exponential back-off for loops, and logging of their failures."""

from __future__ import annotations

import logging
import random

from avtomatika.errors import AvtomatikaError

_FIRST_SECONDS = 0.5
_LONGEST_SECONDS = 30.0
#: Doublings from the first to the longest pause.
_DOUBLINGS = 6


def pause_seconds(failures: int) -> float:
    """Return the pause after this many consecutive *failures*, with full jitter to spread reconnects."""
    longest = min(_FIRST_SECONDS * 2.0 ** min(failures - 1, _DOUBLINGS), _LONGEST_SECONDS)
    return random.uniform(0, longest)  # noqa: S311 - not a secret


class Failures:
    """Consecutive failures of a loop that must keep running; *consequence* says in the log what they mean for its
    work.

    Each error is logged once: expected errors as one line, all others with a traceback.
    """

    def __init__(self, logger: logging.Logger, consequence: str) -> None:
        self._logger = logger
        self._consequence = consequence
        self._count = 0
        self._logged = ""

    def __bool__(self) -> bool:
        return bool(self._count)

    def met(self, error: Exception) -> float:
        """Record a failure; return the seconds to pause before the next attempt."""
        self._count += 1
        if str(error) != self._logged or self._count == 1:
            self._logged = str(error)
            is_expected = isinstance(error, AvtomatikaError)
            level = logging.WARNING if is_expected else logging.ERROR
            text = error if is_expected else repr(error)
            self._logger.log(level, "%s; %s", text, self._consequence, exc_info=None if is_expected else error)
        return pause_seconds(self._count)

    def over(self) -> None:
        """Record a success."""
        if self._count:
            self._logger.info("working again after %d failures", self._count)
            self._count = 0
