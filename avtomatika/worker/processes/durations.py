"""Durations: which skills are so short that their tasks may wait for each other."""

from __future__ import annotations

#: A shorter task costs less than handing it over.
SHORT_SECONDS = 0.001
#: How much the last task of a skill counts.
_WEIGHT = 0.2


class Durations:
    """Moving averages of how long the tasks of each skill took, in seconds."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def took(self, skill: str, seconds: float) -> None:
        before = self._seconds.get(skill, seconds)
        self._seconds[skill] = before + _WEIGHT * (seconds - before)

    def is_short(self, skill: str) -> bool:
        """Whether the next task is likely to be short; False where nothing is known."""
        return self._seconds.get(skill, SHORT_SECONDS) < SHORT_SECONDS
