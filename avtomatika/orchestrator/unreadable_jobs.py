"""Events of jobs that this process cannot read: another version may read them; otherwise the job is quarantined."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from avtomatika.broker import Consumer
from avtomatika.errors import NoRouteError
from avtomatika.store import Store, UnreadableJob

from .unit_of_work import ReceivedEvent

logger = logging.getLogger(__name__)

#: Retries of an event for an orchestrator of another version, and the delay before each.
_TRIES, _DELAY_SECONDS = 3, 1.0
_HEADER = "x-unreadable"


def defer_or_quarantine(
    job: UnreadableJob, events: Sequence[ReceivedEvent], *, consumer: Consumer, store: Store
) -> None:
    """Republish *events* after a delay. Finally quarantine the job and dead-letter them."""
    for received in events:
        delivery = received.delivery
        tries = delivery.headers.get(_HEADER, 0)
        if isinstance(tries, int) and tries < _TRIES and _send_again(consumer, received, tries + 1):
            continue
        logger.error(
            "cannot read job %s: %s; quarantining it, dead-lettering %s", job.id, job.reason, received.event.id
        )
        for message in store.quarantine(job):
            consumer.settle_many([([message], ())])
        consumer.dead_letter(delivery, reason="unreadable job", error=job.reason, notify=False)


def _send_again(consumer: Consumer, received: ReceivedEvent, tries: int) -> bool:
    """Republish the event; return False if it has no route."""
    message = received.under(received.delivery.routing_key)
    message = replace(message, delay_seconds=_DELAY_SECONDS, headers={**message.headers, _HEADER: tries})
    try:
        consumer.settle_many([([message], [received.delivery.tag])])
    except NoRouteError:
        return False
    return True
