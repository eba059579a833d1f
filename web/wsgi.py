"""Composition root of the web processes: ``gunicorn 'avtomatika.web.wsgi:create()'``.

Each process creates its app after the fork, and connects at the first request.
"""

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from dotenv import load_dotenv
from flask import Flask

from avtomatika import broker, tracing
from avtomatika.core.machine import single_task
from avtomatika.core.plan import Plan
from avtomatika.errors import SettingsError
from avtomatika.files.bucket import Bucket
from avtomatika.files.job_files import JobFiles
from avtomatika.job_server import JobServer
from avtomatika.settings import Settings
from avtomatika.store import Sessions, TaskLeases
from avtomatika.tokens import Clients

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
    clients = _clients(settings)
    tracing.start("avtomatika-web")
    # All services share these connections; one more renews the leases of the gateway.
    server = JobServer(settings.redis_url, settings, max_connections=settings.redis_max_connections - 1)
    if not server.workers:
        logger.warning("no worker can connect over HTTP: set WORKER_TOKEN, or name workers in workers.toml")
    return app_of(
        server,
        server.plans,
        clients,
        held=HeldRequests(settings.web_max_waiting, client_share=settings.web_client_share),
        trusted_proxies=settings.trusted_proxies,
        gateway=_gateway(server),
        rate_limit=settings.api_rate_limit,
        max_new_skills=settings.max_new_skills,
        access_log=settings.access_log == "true",
        metrics_token=settings.metrics_token,
    )


def app_of(server: JobServer, plans: Sequence[Plan], clients: Clients, **options: Any) -> Flask:
    """Return the app of *server*; *options* are those of :func:`create_app`. Raises BlueprintError."""
    return create_app(
        store=server.store,
        plans=plans,
        clients=clients,
        declare=lambda *skills: server.declare([*plans, single_task.PLAN], skills),
        job_files=None if server.s3 is None else JobFiles(Bucket(server.s3), group=server.settings.group),
        **options,
    )


def _gateway(server: JobServer) -> Gateway:
    settings, leases, keyring = server.settings, TaskLeases(server.server), server.store.keyring
    connect = partial(broker.connect, server.url, server=server.server, **settings.delivery)
    return Gateway(
        authentication=Authentication(workers=server.workers, sessions=Sessions(server.server)),
        registry=server.store.registry,
        leases=leases,
        streams=server.store.streams,
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
