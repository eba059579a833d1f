"""Deliveries that were consumed and not yet handled. They stay here while the server is unavailable.

Some are forwarded unchanged: due timers, and events on the queue of another state or plan.
"""

import logging
from collections.abc import Callable, Iterable, Sequence

from avtomatika.broker import Consumer, Delivery, Outgoing
from avtomatika.errors import NoRouteError, TransientError, UnavailableError

logger = logging.getLogger(__name__)

#: Characters of an error kept in a dead letter.
_MAX_ERROR_CHARS = 1000

Handle = Callable[[Sequence[Delivery]], None]


class Inbox:
    """Deliveries of *consumer*, in order of arrival."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self.deliveries: list[Delivery] = []

    def __bool__(self) -> bool:
        return bool(self.deliveries)

    def add(self, deliveries: Iterable[Delivery]) -> None:
        self.deliveries += deliveries

    def handle(self, handle: Handle, deliveries: Sequence[Delivery]) -> None:
        """*handle* the deliveries together; one that cannot be handled is dead-lettered alone.

        UnavailableError and TransientError are raised, and the deliveries stay here.
        """
        if not deliveries:
            return
        try:
            handle(deliveries)
        except (UnavailableError, TransientError):
            raise
        except Exception as error:
            if len(deliveries) == 1:
                self.dead_letter(deliveries, error)
                return
            for delivery in deliveries:
                self.handle(handle, [delivery])
        else:
            self.remove(deliveries)

    def dead_letter(self, deliveries: Iterable[Delivery], error: Exception) -> None:
        """Dead-letter *deliveries* because of *error*; their job is notified."""
        for delivery in deliveries:
            logger.error("queue %s: cannot handle a message; dead-lettered", delivery.queue, exc_info=error)
            self._consumer.dead_letter(delivery, reason="not handled", error=repr(error)[:_MAX_ERROR_CHARS])
            self.remove([delivery])

    def remove(self, deliveries: Iterable[Delivery]) -> None:
        """Remove *deliveries*, which are settled or handled elsewhere."""
        tags = {delivery.tag for delivery in deliveries}
        self.deliveries = [delivery for delivery in self.deliveries if delivery.tag not in tags]


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
            try:
                consumer.settle_many([([outgoing], [delivery.tag])])
            except NoRouteError as error:
                logger.warning("queue %s: %s; dropped", delivery.queue, error)
                if outgoing.exchange:
                    consumer.dead_letter(delivery, reason="no route", error=str(error), notify=False)
                else:  # the program that waited for the reply is gone
                    consumer.ack([delivery.tag])
