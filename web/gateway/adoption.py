"""Adoption: tasks that a worker took from the broker itself become its tasks over HTTP, where it lost sight of that.

Its other addresses of the same group keep them from then on, and take their results, as of any other task over HTTP.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from avtomatika import broker
from avtomatika.store import HandOver, Keyring, TaskLeases
from avtomatika.tokens import WorkerAccess

logger = logging.getLogger(__name__)


def adopt(
    claims: Sequence[dict[str, Any]], access: WorkerAccess, *, consumer: str, held: TaskLeases, keyring: Keyring
) -> list[str]:
    """Ids of the tasks that are the worker's over HTTP now: of those that *consumer* still holds, and whose ticket the
    worker has.

    Each of *claims* has ``task_id``, ``attempt``, ``ticket`` and ``tag``; see ``schemas.gateway``.
    """
    tasks = held.messages([claim["tag"] for claim in claims])
    secret = keyring.secret
    given = [
        HandOver(claim["tag"], task, access.worker_id, broker.task_started(task, access.worker_id, signer=secret))
        for claim, task in zip(claims, tasks, strict=True)
        if task is not None
        and (task.task_id, task.attempt) == (claim["task_id"], claim["attempt"])
        and secret.is_ticket(claim["ticket"], task.task_id, task.attempt)
        and access.may_run(task.task_type)
    ]
    done = held.hand_over(given, holder=consumer)
    known = held.find([each.task.task_id for each in given])  # it may ask again, where our answer did not arrive
    adopted = [
        each.task.task_id
        for each, is_done, has in zip(given, done, known, strict=True)
        if is_done or (has is not None and (has.worker_id, has.tag) == (access.worker_id, each.tag))
    ]
    logger.info("worker %s: %d of %d tasks are kept over HTTP now", access.worker_id, len(adopted), len(claims))
    return adopted
