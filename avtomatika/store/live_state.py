"""What stands beside an open job, read in one round trip. A fan-out costs one number, however large it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from avtomatika.core.explain.live_state import LiveState, TaskProgress
from avtomatika.core.job import Job

from .keys import Keys

#: What is kept of an open task, behind its id.
_OF_TASK = ("", "/worker", "/progress")


def commands(job: Job, keys: Keys) -> list[Sequence[str]]:
    """What to read of *job*; as many commands as :func:`read` takes answers."""
    wanted: list[Sequence[str]] = []
    if job.tasks:
        wanted.append(
            ("HMGET", keys.tasks(job.id), *(f"{task_id}{each}" for task_id in job.tasks for each in _OF_TASK))
        )
    if job.fan_out is not None:
        wanted.append(("HGET", keys.branches(job.id), "left"))
    if job.pause is not None:
        wanted.append(("HGET", keys.job(job.id), "decided"))
    return wanted


def read(job: Job, answers: Sequence[Any]) -> LiveState:
    """The answers to :func:`commands`."""
    left = iter(answers)
    in_flight = _in_flight(job, next(left)) if job.tasks else {}
    branches_left = None if job.fan_out is None else int(next(left) or 0)
    decision = None if job.pause is None else _decision(job.pause.token, next(left))
    return LiveState(in_flight, branches_left, decision)


def _in_flight(job: Job, row: Sequence[bytes | None]) -> dict[str, TaskProgress]:
    """Open tasks that somebody has begun with, or told of."""
    found = ((task_id, _hand(*row[3 * place : 3 * place + 3])) for place, task_id in enumerate(job.tasks))
    return {task_id: hand for task_id, hand in found if hand is not None}


def _hand(attempt: bytes | None, worker: bytes | None, told: bytes | None) -> TaskProgress | None:
    worker_id = None if worker is None else worker.decode()
    if attempt is not None and told is not None and told.startswith(attempt + b" "):
        _, reported_ms, share, message = told.decode().split(" ", 3)
        return TaskProgress(worker_id, float(share), message, int(reported_ms))
    return None if worker_id is None else TaskProgress(worker_id)


def _decision(token: str, decided: bytes | None) -> str | None:
    of, _, words = (decided or b"").decode().partition(" ")
    return words if of == token else None
