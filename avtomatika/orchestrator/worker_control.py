"""What all workers are told: which tasks they need not go on with, and who may not come in.

It hurries things and no more: who does not hear it hears of a cancelled job at the next renewal of its lease, and the
result of a closed task, or of somebody who may not come in, counts for nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence

from avtomatika import broker
from avtomatika.broker import Consumer
from avtomatika.core.events import Result
from avtomatika.core.job import group_of
from avtomatika.errors import NoRouteError, UnavailableError
from avtomatika.schemas.wire import Barred, Cancel, Control

from .unit_of_work import Work

logger = logging.getLogger(__name__)


def tell_workers(intake: Consumer, works: Iterable[Work]) -> None:
    """Tell of every task that one of the committed *works* closed without an answer to it."""
    _tell(intake, [cancel for work in works for cancel in _closed_unanswered(work)])


def tell_barred(intake: Consumer, worker_ids: Iterable[str]) -> None:
    """Tell those who are refused that they are: they take tasks from others in vain."""
    _tell(intake, [Barred(worker_id) for worker_id in worker_ids])


def _tell(intake: Consumer, controls: Sequence[Control]) -> None:
    if controls:
        try:
            intake.settle_many([([broker.control_message(control) for control in controls], ())])
        except (UnavailableError, NoRouteError) as error:
            logger.warning("%s; workers hear late what they need not go on with", error)


def _closed_unanswered(work: Work) -> Iterator[Cancel]:
    events = (arrival.event for arrival in work.answered)
    answered = {(event.task_id, event.attempt) for event in events if isinstance(event, Result)}
    closed = {f"{task_id}/{attempt}" for task_id, attempt in work.step.closed}
    revoked = dict.fromkeys(group for group in work.step.revoked if group not in closed)
    yield from map(Cancel, revoked)
    for task_id, attempt in work.step.closed:
        group = group_of(task_id)
        if group not in revoked and (task_id, attempt) not in answered:
            yield Cancel(group, task_id, attempt)
