"""Durations and counts in words."""

from collections import Counter
from collections.abc import Iterable

#: Longest first, in seconds.
_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def span(duration_ms: int) -> str:
    """Return a duration in its two largest units.

    >>> span(90_061_000), span(59_400), span(-3)
    ('1 day 1 hour', '59 seconds', '0 seconds')
    """
    left = max(duration_ms, 0) // 1000
    for place, (size, name) in enumerate(_UNITS):
        if left >= size or size == 1:
            words = [count(left // size, name)]
            if size > 1 and (rest := left % size // _UNITS[place + 1][0]):
                words.append(count(rest, _UNITS[place + 1][1]))
            return " ".join(words)
    return ""


def count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def counted(words: Iterable[str]) -> str:
    """Return how often each of *words* occurs.

    >>> counted(["idle", "busy", "idle"])
    '1 busy, 2 idle'
    """
    return ", ".join(f"{number} {word}" for word, number in sorted(Counter(words).items()))
