"""Webhook delivery of ``avtomatika orchestrator``, in a thread with its own connection."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from avtomatika import broker
from avtomatika.core.plan import WEBHOOKS
from avtomatika.files.job_values import JobValues
from avtomatika.orchestrator.webhooks.delivery import Webhooks
from avtomatika.orchestrator.webhooks.http_post import WebhookClient
from avtomatika.orchestrator.webhooks.ssrf import networks
from avtomatika.settings import Settings
from avtomatika.store import Keyring, WebhookRecords

from .background_loop import run_in_background

logger = logging.getLogger(__name__)

#: Webhooks in flight; each may be as large as a result.
_PREFETCH = 64
#: Time limit of one request to a receiver.
_TIMEOUT_SECONDS = 10.0


@contextmanager
def delivering_webhooks(
    settings: Settings, values: JobValues | None, *, on_crash: Callable[[], None]
) -> Iterator[None]:
    """Deliver webhooks until the context ends, with links to large *values*; see :func:`run_in_background` for
    *on_crash*."""
    with (
        broker.connect(str(settings.redis_url), **settings.delivery) as connection,
        closing(broker.Consumer(connection, [WEBHOOKS], prefetch=_PREFETCH)) as consumer,
    ):
        server = consumer.channel.server
        webhooks = Webhooks(
            consumer=consumer,
            records=WebhookRecords(server, consumer.channel.router, keyring=Keyring(server, settings.group_secret)),
            client=WebhookClient(timeout_seconds=_TIMEOUT_SECONDS, allowed=networks(settings.webhook_allow)),
            secret=settings.webhook_secret,
            values=values,
        )
        with run_in_background(webhooks, "webhook delivery", on_crash=on_crash):
            yield
