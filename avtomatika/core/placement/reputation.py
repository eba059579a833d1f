"""Reputation: how the last tasks of a worker ended, as a share from 0 to 1. Pure.

Every task that ends well closes a part of what is missing to 1, every one that fails takes the same part away; who is
new has 1. What is missing halves with time: whoever is given nothing any more gets another chance.
"""

from __future__ import annotations

from avtomatika.core.events import Event, Result
from avtomatika.core.machine.task_results import INVALID_INPUT

#: About so many of the last tasks count.
_TASKS = 10
#: What is missing to 1 halves in so long.
HALVES_SECONDS = 600.0


def rating_of(event: Event) -> tuple[str, bool] | None:
    """Whom *event* tells something of, and whether it is good; None where it tells nothing of a worker.

    That nobody waits for a task any more, or that what it was given is no good, is not its worker's doing.
    """
    if not isinstance(event, Result) or event.worker_id is None or event.status == "cancelled":
        return None
    if event.status == "failure" and (event.error or {}).get("code") == INVALID_INPUT:
        return None
    return event.worker_id, event.status != "failure"


def decay_factors(good: int, bad: int) -> tuple[float, float]:
    """What a reputation is multiplied with, and what is added then, after so many tasks.

    >>> times, plus = decay_factors(0, 1)
    >>> times * 1.0 + plus
    0.9
    """
    kept = 1 - 1 / _TASKS
    return kept ** (good + bad), kept**bad * (1 - kept**good)


def decayed(reputation: float, age_seconds: float) -> float:
    """What is left of a reputation *age_seconds* after the last task.

    >>> decayed(0.5, 600)
    0.75
    """
    return float(1 - (1 - reputation) * 0.5 ** (max(age_seconds, 0.0) / HALVES_SECONDS))
