"""How long tasks usually take: what a worker that stops must know, so that it waits for no task in vain."""

from __future__ import annotations

from collections import deque
from statistics import median

#: So many of the last tasks of a skill count, and so many there must be.
_LAST, _ENOUGH = 50, 5


class DurationEstimates:
    """The last durations of each skill, in seconds."""

    def __init__(self) -> None:
        self._seconds: dict[str, deque[float]] = {}

    def took(self, skill: str, seconds: float) -> None:
        """A task that was done took so long."""
        last = self._seconds.get(skill)
        if last is None:
            last = self._seconds[skill] = deque(maxlen=_LAST)
        last.append(seconds)

    def left(self, skill: str, ran_seconds: float) -> float | None:
        """How long a task that has run so long will go on, if it is like others; None where nobody can tell."""
        last = list(self._seconds.get(skill, ()))
        longer = [seconds for seconds in last if seconds > ran_seconds]
        return median(longer) - ran_seconds if len(last) >= _ENOUGH and longer else None
