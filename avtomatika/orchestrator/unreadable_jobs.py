"""Events of jobs that this process cannot read: another version may read them, else the job is quarantined."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from avtomatika.broker import Consumer, Delivery
from avtomatika.errors import NoRouteError
from avtomatika.store import Store, UnreadableJob

from .unit_of_work import ReceivedEvent

logger = logging.getLogger(__name__)

#: How often an event is sent again for an orchestrator of another version, and the delay each time.
_TRIES, _DELAY_SECONDS = 3, 1.0
_HEADER = "x-unreadable"


def set_aside(job: UnreadableJob, arrivals: Sequence[ReceivedEvent], *, intake: Consumer, store: Store) -> None:
    """Send *arrivals* again after a delay. In the end the job is quarantined, and they become dead letters."""
    for arrival in arrivals:
        delivery = arrival.delivery
        tries = _tries(delivery)
        if tries < _TRIES and _send_again(intake, arrival, tries + 1):
            continue
        logger.error(
            "job %s cannot be read: %s; it is quarantined, %s is given up", job.id, job.reason, arrival.event.id
        )
        store.quarantine(job)
        intake.dead_letter(delivery, reason="unreadable job", error=job.reason, notify=False)


def _tries(delivery: Delivery) -> int:
    tries = delivery.headers.get(_HEADER)
    return tries if isinstance(tries, int) else 0


def _send_again(intake: Consumer, arrival: ReceivedEvent, tries: int) -> bool:
    """Whether the event is on its way again, or somebody else holds it."""
    message = arrival.under(arrival.delivery.routing_key)
    message = replace(message, delay_seconds=_DELAY_SECONDS, headers={**message.headers, _HEADER: tries})
    try:
        intake.settle_many([([message], [arrival.delivery.tag])])
    except NoRouteError:
        return False
    return True
