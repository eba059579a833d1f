"""File clean-up of ``avtomatika orchestrator``: removes files of ended jobs in a thread with its own connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from typing import Any

from avtomatika import broker
from avtomatika.core.plan import FILES
from avtomatika.errors import SettingsError
from avtomatika.files.bucket import Bucket
from avtomatika.files.cleanup import Cleaner, CleanupRules
from avtomatika.orchestrator.file_cleanup import FileCleanup
from avtomatika.settings import Settings
from avtomatika.store import Keyring, Store, Sweeper

from .background_loop import run_in_background

_PREFETCH = 16


def cleanup_rules(objects: Bucket | None) -> CleanupRules:
    """Read the rules from the environment; SettingsError if they need a bucket and none is set."""
    rules = CleanupRules.from_environment()
    if objects is None and rules != CleanupRules():
        raise SettingsError("S3_AUTO_CLEANUP and S3_MAX_AGE_SECONDS need S3_BUCKET, which is not set")
    return rules


def removing_files(
    objects: Bucket | None, rules: CleanupRules, settings: Settings, *, on_crash: Callable[[], None]
) -> Any:
    """Remove files until the context ends; see :func:`run_in_background` for *on_crash*."""
    return nullcontext() if objects is None else _removing(objects, rules, settings, on_crash=on_crash)


@contextmanager
def _removing(
    objects: Bucket, rules: CleanupRules, settings: Settings, *, on_crash: Callable[[], None]
) -> Iterator[None]:
    with (
        broker.connect(str(settings.redis_url), **settings.delivery) as connection,
        closing(broker.Consumer(connection, [FILES], prefetch=_PREFETCH)) as consumer,
    ):
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
