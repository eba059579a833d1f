"""How a loop goes on after failures: it waits, longer each time, and says so once."""

from __future__ import annotations

import logging
import random

from avtomatika.errors import AvtomatikaError

_FIRST_SECONDS = 0.5
_LONGEST_SECONDS = 30.0
#: So many doublings lead from the first to the longest.
_DOUBLINGS = 6


def pause_seconds(failures: int) -> float:
    """Pause after so many *failures* in a row (from 1): full jitter, so that not all come back at the same moment."""
    longest = min(_FIRST_SECONDS * 2.0 ** min(failures - 1, _DOUBLINGS), _LONGEST_SECONDS)
    return random.uniform(0, longest)  # noqa: S311 - not a secret


class Failures:
    """The failures in a row of a loop that must not end; *consequence*, in words, is what they mean for its work.

    The log has each error once: expected ones in a line, all others with their traceback.
    """

    def __init__(self, logger: logging.Logger, consequence: str) -> None:
        self._logger = logger
        self._consequence = consequence
        self._count = 0
        self._logged = ""

    def __bool__(self) -> bool:
        return bool(self._count)

    def met(self, error: Exception) -> float:
        """One more failure; the seconds to pause before the next try."""
        self._count += 1
        if str(error) != self._logged or self._count == 1:
            self._logged = str(error)
            is_expected = isinstance(error, AvtomatikaError)
            level = logging.WARNING if is_expected else logging.ERROR
            text = error if is_expected else repr(error)
            self._logger.log(level, "%s; %s", text, self._consequence, exc_info=None if is_expected else error)
        return pause_seconds(self._count)

    def over(self) -> None:
        """The loop has done its work again."""
        if self._count:
            self._logger.info("working again after %d failures", self._count)
            self._count = 0
