"""The side loops of ``avtomatika orchestrator``: webhooks, file clean-up and archiving, each in its own thread."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from threading import Thread
from typing import Protocol

from avtomatika import broker
from avtomatika.core.plan import FILES, WEBHOOKS
from avtomatika.errors import SettingsError
from avtomatika.files.bucket import Bucket
from avtomatika.files.cleanup import Cleaner, CleanupRules
from avtomatika.files.job_values import JobValues
from avtomatika.orchestrator.file_cleanup import FileCleanup
from avtomatika.orchestrator.sweeps import Archiving
from avtomatika.orchestrator.webhooks.delivery import Webhooks
from avtomatika.orchestrator.webhooks.http_post import WebhookClient
from avtomatika.orchestrator.webhooks.ssrf import networks
from avtomatika.settings import Settings
from avtomatika.store import Archive, Archiver, Keyring, RedisClient, Router, Store, Sweeper, WebhookRecords

logger = logging.getLogger(__name__)

#: Deliveries in flight: webhooks, each of which may be as large as a result, and clean-ups.
_WEBHOOKS_IN_FLIGHT, _CLEANUPS_IN_FLIGHT = 64, 16
#: Time limit of one request to a receiver.
_TIMEOUT_SECONDS = 10.0


class Loop(Protocol):
    def run(self) -> None: ...

    def stop(self) -> None: ...


@contextmanager
def run_in_background(loop: Loop, what: str, *, on_crash: Callable[[], None]) -> Iterator[None]:
    """Run *loop*, named *what* in logs, in a thread until the context ends.

    If it crashes, calls *on_crash* and raises RuntimeError at the end of the context: the process must not continue
    without it.
    """
    crashed: list[BaseException] = []

    def run() -> None:
        try:
            loop.run()
        except BaseException as error:
            logger.exception("%s crashed", what)
            crashed.append(error)
            on_crash()

    thread = Thread(target=run, name=what)
    thread.start()
    try:
        yield
    finally:
        loop.stop()
        thread.join()
    if crashed:
        raise RuntimeError(f"{what} crashed") from crashed[0]


@contextmanager
def _consumer(settings: Settings, shards: Sequence[str], queue: str, prefetch: int) -> Iterator[broker.Consumer]:
    with (
        broker.connect(str(settings.redis_url), prefixes=settings.key_prefixes, **settings.delivery) as connection,
        closing(broker.Consumer(connection, [queue], prefetch=prefetch, prefixes=shards)) as consumer,
    ):
        yield consumer


@contextmanager
def delivering_webhooks(
    settings: Settings, shards: Sequence[str], values: JobValues | None, *, on_crash: Callable[[], None]
) -> Iterator[None]:
    """Deliver webhooks of *shards* until the context ends, with links to large *values*; see
    :func:`run_in_background` for *on_crash*."""
    with _consumer(settings, shards, WEBHOOKS, _WEBHOOKS_IN_FLIGHT) as consumer:
        server = consumer.channel.server
        webhooks = Webhooks(
            consumer=consumer,
            records=WebhookRecords(server, consumer.channel.router, keyring=Keyring(server, settings.group_secret)),
            client=WebhookClient(timeout_seconds=_TIMEOUT_SECONDS, allowed=networks(settings.webhook_allow)),
            secret=settings.webhook_secret,
            notify_url=settings.notify_webhook_url,
            values=values,
        )
        with run_in_background(webhooks, "webhook delivery", on_crash=on_crash):
            yield


def cleanup_rules(objects: Bucket | None) -> CleanupRules:
    """Read the rules from the environment; SettingsError if they need a bucket and none is set."""
    rules = CleanupRules.from_environment()
    if objects is None and rules != CleanupRules():
        raise SettingsError("S3_AUTO_CLEANUP and S3_MAX_AGE_SECONDS need S3_BUCKET, which is not set")
    return rules


@contextmanager
def removing_files(
    objects: Bucket | None,
    rules: CleanupRules,
    settings: Settings,
    shards: Sequence[str],
    *,
    on_crash: Callable[[], None],
) -> Iterator[None]:
    """Remove files of jobs of *shards* until the context ends; see :func:`run_in_background` for *on_crash*."""
    if objects is None:
        yield
        return
    with _consumer(settings, shards, FILES, _CLEANUPS_IN_FLIGHT) as consumer:
        server, router = consumer.channel.server, consumer.channel.router
        cleaning = FileCleanup(
            consumer=consumer,
            store=Store(server, router, keyring=Keyring(server, settings.group_secret), group=settings.group),
            sweeper=Sweeper(server, router),
            cleaner=Cleaner(objects, group=settings.group),
            rules=rules,
        )
        with run_in_background(cleaning, "file clean-up", on_crash=on_crash):
            yield


@contextmanager
def archiving_jobs(
    archive: Archive | None, server: RedisClient, router: Router, settings: Settings, *, on_crash: Callable[[], None]
) -> Iterator[None]:
    """Move ended jobs to *archive* until the context ends; see :func:`run_in_background` for *on_crash*."""
    if archive is None:
        yield
        return
    archiver = Archiver(server, router, archive=archive, retention_days=settings.history_retention_days)
    with closing(archive), run_in_background(Archiving(archiver), "archiving", on_crash=on_crash):
        yield
