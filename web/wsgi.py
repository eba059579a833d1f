"""Composition root of the web processes: ``gunicorn 'avtomatika.web.wsgi:create()'``.

Each process creates its app after the fork, and connects at the first request.
"""

import logging
from functools import partial

from dotenv import load_dotenv
from flask import Flask

from avtomatika import broker
from avtomatika.core.machine import single_task
from avtomatika.errors import SettingsError
from avtomatika.files.bucket import Bucket
from avtomatika.files.cleanup import CleanupRules
from avtomatika.files.config import S3Config
from avtomatika.files.job_files import JobFiles
from avtomatika.loading import load_blueprints
from avtomatika.settings import Settings
from avtomatika.store import RedisClient, Sessions, Store, TaskLeases, WorkerRegistry
from avtomatika.store.cleanups import NO_CLEANUPS, CleanupTimes
from avtomatika.tokens import Clients, Workers

from .app import create_app
from .gateway import Authentication, Gateway, Polls, WorkerQueues
from .long_poll import HeldRequests

logger = logging.getLogger(__name__)


def create() -> Flask:
    """Create the app from the environment and the ``.env`` of the working directory.

    Raises SettingsError if a setting is missing, BlueprintError if a blueprint is invalid.
    """
    load_dotenv(".env")
    settings = Settings.from_environment()
    if settings.redis_url is None:
        raise SettingsError("REDIS_URL is not set: the web processes need the job server")
    url, clients, bucket = settings.redis_url, _clients(settings), _bucket()
    plans = [blueprint.compile() for blueprint in load_blueprints(settings.blueprints, may_be_missing=True)]

    # All services share these connections; one more renews the leases of the gateway.
    server = RedisClient.connect(url, max_connections=settings.redis_max_connections - 1)
    workers = _workers(settings, WorkerRegistry(server))
    store = Store.using(
        server,
        secret=settings.group_secret,
        group=settings.group,
        job_ttl_seconds=settings.job_ttl_seconds,
        cleanups=_cleanup_times(settings, bucket),
        is_authorized=workers.may_authenticate,
        max_job_bytes=settings.max_job_bytes,
        max_stream_bytes=settings.max_stream_bytes,
    )

    def declare(*skills: str) -> None:
        with broker.connect(url, server=server) as connection:
            broker.declare(connection, [*plans, single_task.PLAN])
            broker.declare_tasks(connection, skills)

    return create_app(
        store=store,
        plans=plans,
        clients=clients,
        declare=declare,
        held=HeldRequests(settings.web_max_waiting, client_share=settings.web_client_share),
        trusted_proxies=settings.trusted_proxies,
        gateway=_gateway(settings, url, server, store, workers),
        job_files=None if bucket is None else JobFiles(bucket, group=settings.group),
    )


def _bucket() -> Bucket | None:
    """Return the bucket of results, if one is configured."""
    config = S3Config.from_environment()
    return None if config is None or config.bucket is None else Bucket(config)


def _cleanup_times(settings: Settings, bucket: Bucket | None) -> CleanupTimes:
    """Return when files are deleted of jobs that are cancelled here, because no orchestrator serves their plan."""
    if bucket is None:
        return NO_CLEANUPS
    return CleanupTimes(*CleanupRules.from_environment().seconds_after_end(settings.job_ttl_seconds))


def _workers(settings: Settings, registry: WorkerRegistry) -> Workers:
    workers = Workers(**settings.worker_tokens, revoked_names=registry)
    if not workers:
        logger.warning("no worker can connect over HTTP: set WORKER_TOKEN, or name workers in workers.toml")
    return workers


def _gateway(settings: Settings, url: str, server: RedisClient, store: Store, workers: Workers) -> Gateway:
    leases, keyring = TaskLeases(server), store.keyring

    connect = partial(broker.connect, url, server=server, **settings.delivery)
    return Gateway(
        authentication=Authentication(workers=workers, sessions=Sessions(server)),
        registry=store.registry,
        leases=leases,
        streams=store.streams,
        keyring=keyring,
        polls=Polls(connect=connect, leases=leases, keyring=keyring),
        worker_queues=WorkerQueues(connect),
        group=settings.group,
        lease_seconds=settings.delivery.get("lease_seconds", broker.LEASE_SECONDS),
        max_inline_bytes=settings.max_inline_bytes,
    )


def _clients(settings: Settings) -> Clients:
    clients = Clients(**settings.client_tokens)
    if not clients.are_configured:
        raise SettingsError("no client can authenticate: set CLIENT_TOKEN, or name clients in clients.toml")
    return clients
