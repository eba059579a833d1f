"""Average durations, by which the pool decides whether tasks of a skill may queue at a child."""

#: Shorter tasks cost less than passing them to a child.
SHORT_SECONDS = 0.001
#: Weight of the latest task in the average.
_WEIGHT = 0.2


class AverageDurations:
    """Moving average duration of each skill, in seconds."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def record(self, skill: str, seconds: float) -> None:
        before = self._seconds.get(skill, seconds)
        self._seconds[skill] = before + _WEIGHT * (seconds - before)

    def is_short(self, skill: str) -> bool:
        """Return whether the next task is likely to be short; False if nothing is known."""
        return self._seconds.get(skill, SHORT_SECONDS) < SHORT_SECONDS
