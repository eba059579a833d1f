"""Deliveries that were taken and not yet handled: what the server's absence interrupts stays here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

from avtomatika.broker import Consumer, Delivery
from avtomatika.errors import TransientError, UnavailableError

logger = logging.getLogger(__name__)

#: What is kept of an error that makes a dead letter, in characters.
_LONGEST_ERROR = 1000

Handle = Callable[[Sequence[Delivery]], None]


class Inbox:
    """Deliveries by *intake*, in the order in which they came."""

    def __init__(self, intake: Consumer) -> None:
        self._intake = intake
        self.deliveries: list[Delivery] = []

    def __bool__(self) -> bool:
        return bool(self.deliveries)

    def add(self, deliveries: Iterable[Delivery]) -> None:
        self.deliveries += deliveries

    def handle(self, handle: Handle, deliveries: Sequence[Delivery]) -> None:
        """*handle* them together; one that cannot be handled goes to the dead letters alone.

        Raises UnavailableError and TransientError: what they interrupt stays here.
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
            self.done(deliveries)

    def dead_letter(self, deliveries: Iterable[Delivery], error: Exception) -> None:
        """Give *deliveries*, which *error* keeps from being handled, to the dead letters; their job is told."""
        for delivery in deliveries:
            logger.error("queue %s: a message cannot be handled", delivery.queue, exc_info=error)
            self._intake.dead_letter(delivery, reason="not handled", error=repr(error)[:_LONGEST_ERROR])
            self.done([delivery])

    def done(self, deliveries: Iterable[Delivery]) -> None:
        """*deliveries* are settled, or in other hands."""
        tags = {delivery.tag for delivery in deliveries}
        self.deliveries = [delivery for delivery in self.deliveries if delivery.tag not in tags]
