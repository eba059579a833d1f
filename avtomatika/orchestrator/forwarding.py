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
    needs it. A reply whose queue is gone is dropped.
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
        if not outgoing.exchange:
            logger.info("the program that waited for a result is gone: no queue %r", outgoing.routing_key)
            consumer.ack([delivery.tag])
            return
        logger.warning("queue %s: %s; dead-lettered", delivery.queue, error)
        consumer.dead_letter(delivery, reason="no route", error=str(error), notify=False)
