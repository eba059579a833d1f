"""Forwarding of unchanged messages to the queue of another state or plan: due timers, and events on another plan's
queue."""

import logging
from collections.abc import Callable, Sequence

from avtomatika.broker import Consumer, Delivery, Outgoing
from avtomatika.errors import NoRouteError

logger = logging.getLogger(__name__)


def forward(consumer: Consumer, pairs: Sequence[tuple[Delivery, Outgoing]], *, declare: Callable[[], None]) -> None:
    """Publish each message and acknowledge its delivery, atomically.

    A message that has no route even after *declare* has declared this orchestrator's topology is dead-lettered: no job
    needs it.
    """
    try:
        consumer.settle_many([([outgoing], [delivery.tag]) for delivery, outgoing in pairs])
    except NoRouteError:
        declare()
        for delivery, outgoing in pairs:
            _forward_one(consumer, delivery, outgoing)


def _forward_one(consumer: Consumer, delivery: Delivery, outgoing: Outgoing) -> None:
    try:
        consumer.settle_many([([outgoing], [delivery.tag])])
    except NoRouteError as error:
        logger.warning("queue %s: %s; dead-lettered", delivery.queue, error)
        consumer.dead_letter(delivery, reason="no route", error=str(error), notify=False)
