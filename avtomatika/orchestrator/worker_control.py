"""Control messages for workers, published at home: cancelled tasks, rejected and drained workers.

They only save time: a worker that misses one learns of a cancelled job at its next lease renewal, and results of closed
tasks or rejected workers are rejected anyway.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

from avtomatika import broker
from avtomatika.broker import Consumer
from avtomatika.core.events import Result
from avtomatika.core.job import group_of
from avtomatika.errors import NoRouteError, UnavailableError
from avtomatika.schemas.wire import Cancel, Control, Drain, Heartbeat, Rejected

from .unit_of_work import Work

logger = logging.getLogger(__name__)


def notify_workers(consumer: Consumer, works: Iterable[Work]) -> None:
    """Cancel every task that the committed *works* closed without a result."""
    _broadcast(consumer, [cancel for work in works for cancel in _cancellations(work)])


def notify_rejected(consumer: Consumer, worker_ids: Iterable[str]) -> None:
    """Notify workers that they are rejected: they take tasks from others in vain."""
    _broadcast(consumer, [Rejected(worker_id) for worker_id in worker_ids])


def notify_drained(consumer: Consumer, heartbeats: Sequence[Heartbeat], is_drained: Callable[[str], bool]) -> None:
    """Drain or resume the workers whose heartbeats do not say what their operators want."""
    drained = {each.worker_id: is_drained(each.worker_id) for each in heartbeats}
    said = {each.worker_id: each.beat.get("status") == "draining" for each in heartbeats}
    _broadcast(consumer, [Drain(each, drained[each]) for each in drained if drained[each] is not said[each]])


def _broadcast(consumer: Consumer, controls: Sequence[Control]) -> None:
    if controls:
        try:
            consumer.settle_many([([broker.control_message(control) for control in controls], ())])
        except (UnavailableError, NoRouteError) as error:
            logger.warning("%s; workers are notified late of cancelled tasks", error)


def _cancellations(work: Work) -> Iterator[Cancel]:
    events = (received.event for received in work.answered)
    answered = {(event.task_id, event.attempt) for event in events if isinstance(event, Result)}
    closed = {f"{task_id}/{attempt}" for task_id, attempt in work.step.closed}
    revoked = dict.fromkeys(group for group in work.step.revoked if group not in closed)
    yield from map(Cancel, revoked)
    for task_id, attempt in work.step.closed:
        group = group_of(task_id)
        if group not in revoked and (task_id, attempt) not in answered:
            yield Cancel(group, task_id, attempt)
