"""The server of one address and what belongs to it by the environment: store, blueprints, tokens and S3.

Shared by the web processes and by clients that do without one.
"""

from collections.abc import Iterable
from functools import cached_property
from threading import Lock
from typing import Any

from avtomatika import broker
from avtomatika.archive import open_archive
from avtomatika.core.plan import Plan
from avtomatika.files.cleanup import CleanupRules
from avtomatika.files.config import S3Config
from avtomatika.loading import load_blueprints
from avtomatika.settings import Settings
from avtomatika.store import RedisClient, Store, WorkerRegistry
from avtomatika.store.cleanups import NO_CLEANUPS, CleanupTimes
from avtomatika.tokens import Workers

#: Modules of users are loaded by one thread at a time.
_LOADING = Lock()


class JobServer:
    """Thread-safe. Connects with the first request."""

    def __init__(self, url: str, settings: Settings, **options: Any) -> None:
        """*options* are those of ``RedisClient.connect``. Raises SettingsError."""
        self.url = url
        self.settings = settings
        self.server = RedisClient.connect(url, prefixes=settings.key_prefixes, **options)
        self.workers = Workers(**settings.worker_tokens, revoked_names=WorkerRegistry(self.server))
        s3 = S3Config.from_environment()
        #: The S3 server with the bucket of results, if one is configured.
        self.s3 = s3 if s3 is not None and s3.bucket is not None else None
        ends = CleanupRules.from_environment().seconds_after_end(settings.job_ttl_seconds)
        self.store = Store.using(
            self.server,
            secret=settings.group_secret,
            group=settings.group,
            job_ttl_seconds=settings.job_ttl_seconds,
            max_retries=settings.job_max_retries,
            cleanups=NO_CLEANUPS if self.s3 is None else CleanupTimes(*ends),
            is_authorized=self.workers.may_authenticate,
            max_job_bytes=settings.max_job_bytes,
            max_stream_bytes=settings.max_stream_bytes,
            archive=open_archive(settings.history_database_uri),
        )

    @cached_property
    def plans(self) -> list[Plan]:
        """The compiled blueprints of the user. Raises BlueprintError."""
        with _LOADING:
            return [blueprint.compile() for blueprint in load_blueprints(self.settings.blueprints, may_be_missing=True)]

    def declare(self, plans: Iterable[Plan], skills: Iterable[str]) -> None:
        """Declare *plans* and the queues of *skills* on the broker."""
        with broker.connect(self.url, server=self.server) as connection:
            broker.declare(connection, list(plans))
            broker.declare_tasks(connection, skills)
