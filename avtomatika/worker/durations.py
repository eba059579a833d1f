"""Durations of tasks: estimates, by which a stopping worker decides which tasks to wait for, and averages, by which the
pool of processes decides whether tasks of a skill may queue at a child.
"""

from collections import defaultdict, deque
from statistics import median

#: Number of recent tasks of a skill that count, and the minimum for an estimate.
_LAST, _ENOUGH = 50, 5
#: Shorter tasks cost less than passing them to a child.
SHORT_SECONDS = 0.001
#: Weight of the latest task in the average.
_WEIGHT = 0.2


class Durations:
    """Recent durations of each skill and their moving average, in seconds."""

    def __init__(self) -> None:
        self._last = defaultdict[str, deque[float]](lambda: deque(maxlen=_LAST))
        self._averages: dict[str, float] = {}

    def record(self, skill: str, seconds: float) -> None:
        """Record the duration of a finished task."""
        self._last[skill].append(seconds)
        before = self._averages.get(skill, seconds)
        self._averages[skill] = before + _WEIGHT * (seconds - before)

    def remaining(self, skill: str, ran_seconds: float) -> float | None:
        """Estimate the remaining seconds of a task from longer ones; None if too little is known."""
        last = list(self._last.get(skill, ()))
        longer = [seconds for seconds in last if seconds > ran_seconds]
        return median(longer) - ran_seconds if len(last) >= _ENOUGH and longer else None

    def is_short(self, skill: str) -> bool:
        """Return whether the next task is likely to be short; False if nothing is known."""
        return self._averages.get(skill, SHORT_SECONDS) < SHORT_SECONDS
