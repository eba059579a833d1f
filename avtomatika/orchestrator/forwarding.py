"""Messages that go on as they are, to the queue of another state or plan: due timers, events that came elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from avtomatika.broker import Consumer, Delivery, Outgoing
from avtomatika.errors import NoRouteError

logger = logging.getLogger(__name__)


def forward(intake: Consumer, pairs: Sequence[tuple[Delivery, Outgoing]], *, declare: Callable[[], None]) -> None:
    """Send each message on and acknowledge the delivery that it came with, both or neither.

    What leads nowhere, even once *declare* has seen to it that what is ours is declared, goes to the dead letters:
    nobody needs it any more.
    """
    try:
        intake.settle_many([([outgoing], [delivery.tag]) for delivery, outgoing in pairs])
    except NoRouteError:
        declare()
        for delivery, outgoing in pairs:
            _forward_one(intake, delivery, outgoing)


def _forward_one(intake: Consumer, delivery: Delivery, outgoing: Outgoing) -> None:
    try:
        intake.settle_many([([outgoing], [delivery.tag])])
    except NoRouteError as error:
        logger.warning("queue %s: %s; to the dead letters", delivery.queue, error)
        intake.dead_letter(delivery, reason="no route", error=str(error), notify=False)
