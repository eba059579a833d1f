"""The number of task slots that keep the waits of a skill short; docs/metrics.md explains the formula."""

from math import ceil, exp

#: Share of the tasks that may wait for longer than the target.
_LATE = 0.05


def slots_wanted(rate: float, seconds: float, *, waiting: int, running: int, target_seconds: float) -> int:
    """Return the least number of slots with which 95 % of the tasks wait for at most *target_seconds*, if *rate* tasks
    of *seconds* each arrive in a second at random (M/M/c) and *waiting* ones have. At most 1 for unknown *seconds*.
    """
    if seconds <= 0:
        return min(waiting + running, 1)
    busy, slots, blocked, late = rate * seconds, 0, 1.0, 1.0  # of an Erlang B system with *slots*
    while busy > 0 and late > _LATE:
        slots += 1
        blocked = busy * blocked / (slots + busy * blocked)
        if slots > busy:  # Erlang C, and the exponential distribution of waits
            waits = slots * blocked / (slots - busy * (1 - blocked))
            late = waits * exp((busy - slots) * target_seconds / seconds)
    return max(slots, ceil((1 - _LATE) * waiting * seconds / target_seconds))
