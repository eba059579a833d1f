"""The part of ``avtomatika orchestrator`` that delivers webhooks, in a thread and over a connection of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

from avtomatika import broker
from avtomatika.core.plan import WEBHOOKS
from avtomatika.orchestrator.addresses import networks
from avtomatika.orchestrator.posting import Poster
from avtomatika.orchestrator.webhooks import Webhooks
from avtomatika.settings import Settings
from avtomatika.store import WebhookRecords

logger = logging.getLogger(__name__)

#: Webhooks in hand at a time; each may be as large as a result.
_PREFETCH = 64
#: What a receiver has for its answer.
_TIMEOUT_SECONDS = 10.0


@contextmanager
def delivering_webhooks(settings: Settings, *, on_crash: Callable[[], None]) -> Iterator[None]:
    """Deliver webhooks meanwhile. Where that breaks down *on_crash* is called, and RuntimeError raised at the end."""
    if settings.webhook_secret is None:
        logger.info("WEBHOOK_SECRET is not set: webhooks are sent without a signature")
    crashed: list[BaseException] = []
    with broker.connect(
        str(settings.redis_url), lease_seconds=settings.worker_lease_seconds, max_deliveries=settings.max_deliveries
    ) as connection:
        intake = broker.Intake(connection, [WEBHOOKS], prefetch=_PREFETCH)
        webhooks = Webhooks(
            intake=intake,
            records=WebhookRecords(intake.channel.server, intake.channel.router),
            poster=Poster(timeout_seconds=_TIMEOUT_SECONDS, allowed=networks(settings.webhook_allow)),
            secret=settings.webhook_secret,
        )

        def deliver() -> None:
            try:
                webhooks.run()
            except BaseException as error:  # the process must not live on without its webhooks
                logger.exception("the delivery of webhooks has broken down")
                crashed.append(error)
                on_crash()

        thread = Thread(target=deliver, name="webhooks")
        thread.start()
        try:
            yield
        finally:
            webhooks.stop()
            thread.join()
            intake.close()
    if crashed:
        raise RuntimeError("the delivery of webhooks has broken down") from crashed[0]
