"""Reputation: how the last tasks of a worker ended, as a share from 0 to 1.

A success closes a part of the gap to 1, a failure subtracts the same part; a new worker has 1. The gap halves with
time, so that a worker that gets no tasks recovers.
"""

from avtomatika.core.events import Event, Result
from avtomatika.core.machine.task_results import INVALID_INPUT

#: Approximate number of tasks that count.
_TASKS = 10
#: Seconds in which the gap to 1 halves.
HALVES_SECONDS = 600.0


def rating_of(event: Event) -> tuple[str, bool] | None:
    """Return the worker that *event* rates, and True for a good rating; None if it rates none.

    Cancelled tasks and invalid input are not the worker's fault.
    """
    if not isinstance(event, Result) or event.worker_id is None or event.status == "cancelled":
        return None
    if event.status == "failure" and (event.error or {}).get("code") == INVALID_INPUT:
        return None
    return event.worker_id, event.status != "failure"


def decay_factors(good: int, bad: int) -> tuple[float, float]:
    """Return the factor and the addend that update a reputation after *good* and *bad* tasks.

    >>> times, plus = decay_factors(0, 1)
    >>> times * 1.0 + plus
    0.9
    """
    kept = 1 - 1 / _TASKS
    return kept ** (good + bad), kept**bad * (1 - kept**good)


def decayed(reputation: float, age_seconds: float) -> float:
    """Return a reputation *age_seconds* after the last task.

    >>> decayed(0.5, 600)
    0.75
    """
    return float(1 - (1 - reputation) * 0.5 ** (max(age_seconds, 0.0) / HALVES_SECONDS))
