"""Adoption: a worker that loses its broker connection continues the tasks that it took from the broker over HTTP.

Its other HTTP links of the same group renew their leases from then on and send their results, as for any task over
HTTP.
"""

import logging
from collections.abc import Sequence
from typing import Any

from avtomatika import broker
from avtomatika.store import Keyring, NewLease, TaskLeases
from avtomatika.tokens import WorkerAccess

logger = logging.getLogger(__name__)


def adopt(
    claims: Sequence[dict[str, Any]], access: WorkerAccess, *, consumer: str, leases: TaskLeases, keyring: Keyring
) -> list[str]:
    """Lease the tasks that *consumer* still has and whose ticket the worker knows to the worker over HTTP; return their
    ids.

    Each of *claims* has ``task_id``, ``attempt``, ``ticket`` and ``tag``; see ``schemas.gateway``.
    """
    tasks = leases.messages([claim["tag"] for claim in claims])
    secret = keyring.secret
    new_leases = [
        NewLease(claim["tag"], task, access.worker_id, broker.task_started(task, access.worker_id, signer=secret))
        for claim, task in zip(claims, tasks, strict=True)
        if task is not None
        and (task.task_id, task.attempt) == (claim["task_id"], claim["attempt"])
        and secret.is_ticket(claim["ticket"], task.task_id, task.attempt)
        and access.may_run(task.task_type)
    ]
    done = leases.lease(new_leases, holder=consumer)
    known = leases.find(
        [each.task.task_id for each in new_leases]
    )  # the worker repeats the request if it got no response
    adopted = [
        each.task.task_id
        for each, is_done, lease in zip(new_leases, done, known, strict=True)
        if is_done or (lease is not None and (lease.worker_id, lease.tag) == (access.worker_id, each.tag))
    ]
    logger.info("worker %s: adopted %d of %d tasks over HTTP", access.worker_id, len(adopted), len(claims))
    return adopted
