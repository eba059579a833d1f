"""``avtomatika orchestrator``: the composition root of the orchestrator process."""

import gc
import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from functools import partial
from threading import Event
from time import monotonic

import click

from avtomatika import broker, logs, metrics, tracing
from avtomatika.archive import open_archive
from avtomatika.broker.backoff import Backoff
from avtomatika.core.blueprint.blueprint import Blueprint
from avtomatika.core.blueprint.job_context import ClientInfo
from avtomatika.core.blueprint.single_tasks import SINGLE_TASKS
from avtomatika.core.plan import REPLIES, REQUESTS, TIMERS, WORKERS
from avtomatika.core.rules import Rules
from avtomatika.errors import NotFoundError, SettingsError, UnavailableError
from avtomatika.files.bucket import Bucket
from avtomatika.files.config import S3Config
from avtomatika.files.handler_files import files_for
from avtomatika.files.job_values import JobValues
from avtomatika.loading import load_blueprints
from avtomatika.orchestrator.handler_runner import HandlerRunner
from avtomatika.orchestrator.loop import Orchestrator
from avtomatika.orchestrator.unit_of_work import HandlerServices
from avtomatika.settings import Settings
from avtomatika.stop_signals import calling_on_signals
from avtomatika.store import Keyring, RedisData, Store, Sweeper, WorkerRegistry
from avtomatika.store.cleanups import CleanupTimes
from avtomatika.tokens import Clients, Workers

from .arguments import blueprints_option
from .background_loops import archiving_jobs, cleanup_rules, delivering_webhooks, removing_files
from .definition_files import limits_of_file, schedules_of_file
from .environment import join_local
from .parent import end_with_parent

logger = logging.getLogger(__name__)

#: Deliveries in flight: a batch is loaded in one round trip and committed in another.
_PREFETCH = 200
#: Cache of large values of jobs, so that a step does not read them again.
_CACHE_BYTES = 32 * 1024 * 1024
#: Allocations between two garbage collections.
_GARBAGE = 50_000
#: An orchestrator whose loop has not run for this long is stuck.
_STUCK_SECONDS = 90.0


@click.command("orchestrator")
@click.option(
    "--queues",
    metavar="NAME,NAME.QUEUE",
    help="Consume only these step queues.  [default: all queues of all blueprints]",
)
@click.option(
    "--shards",
    metavar="0-7,9",
    help="Serve only these of the shards of AVTOMATIKA_SHARDS, of which 0 is the home.  [default: all]",
)
@blueprints_option
def command(queues: str | None, shards: str | None, blueprints: str) -> None:
    """Run an orchestrator: advance jobs, deliver webhooks, clean up files.

    In --queues, NAME is the main step queue of blueprint NAME, and NAME.QUEUE the queue of
    states that name one, as in video,video.heavy.
    """
    settings = join_local()
    logs.configure(settings.log_level, settings.log_format)
    end_with_parent()
    found = [*load_blueprints(blueprints, may_be_missing=True), SINGLE_TASKS]
    served = chosen_shards(shards, settings.key_prefixes)
    if _run(found, chosen_queues(found, queues), settings, served):
        from avtomatika.worker.run import restart

        restart()


def chosen_queues(blueprints: Sequence[Blueprint], names: str | None) -> list[str]:
    """Return the full names of the step queues in *names*; NotFoundError if no blueprint has one."""
    known = {
        queue.removeprefix("steps.").replace(f"@{plan.plan_hash}", ""): queue
        for plan in (blueprint.plan for blueprint in blueprints)
        for queue in plan.queues
    }
    if names is None:
        return list(known.values())
    wanted = [name.strip() for name in names.split(",")]
    for name in wanted:
        if name not in known:
            raise NotFoundError("step queue", name, known=known)
    return [known[name] for name in wanted]


def chosen_shards(numbers: str | None, prefixes: Sequence[str]) -> Sequence[str]:
    """Return the prefixes of the shards *numbers*, such as ``0-7,9``; SettingsError if one does not exist."""
    if numbers is None:
        return prefixes
    chosen = set[str]()
    with suppress(ValueError, IndexError):
        for word in numbers.split(","):
            first, _, last = word.partition("-")
            chosen |= {prefixes[number] for number in range(int(first), int(last or first) + 1)}
        if chosen:
            return sorted(chosen, key=prefixes.index)
    raise SettingsError(f"--shards {numbers}: must be like 0-7,9, of 0-{len(prefixes) - 1}")


def client_of(clients: Clients) -> Callable[[str], ClientInfo]:
    """Return the lookup of clients for handlers: plan and params as currently in clients.toml."""

    def look_up(name: str) -> ClientInfo:
        known = clients.get(name)
        return ClientInfo(name) if known is None else ClientInfo(name, known.plan, known.params)

    return look_up


def _objects() -> Bucket | None:
    """Return the bucket of results, if configured."""
    config = S3Config.from_environment()
    return None if config is None or config.bucket is None else Bucket(config)


def _workers(settings: Settings, memory: WorkerRegistry) -> Workers:
    """Return the registered workers and their tokens."""
    workers = Workers(**settings.worker_tokens, revoked_names=memory)
    if not workers.are_configured:
        logger.warning(
            "neither WORKER_TOKEN nor %s is configured: every client of the broker is accepted as a worker",
            settings.workers_config_path,
        )
    return workers


def _run(blueprints: Sequence[Blueprint], queues: Sequence[str], settings: Settings, shards: Sequence[str]) -> bool:
    """Advance jobs of *shards* (prefixes of keys) until a signal is received, waiting for an unreachable server; return
    whether to restart."""
    stopping, running = Event(), list[Orchestrator]()
    backoff = Backoff(logger, "the orchestrator waits for the server")

    def stop(*_: object) -> None:
        stopping.set()
        for orchestrator in running:
            orchestrator.stop()

    tracing.start("avtomatika-orchestrator")
    _reduce_garbage_collection()

    def serve() -> None:
        with ExitStack() as stack:
            orchestrator = _attached(stack, blueprints, queues, settings, shards)
            running.append(orchestrator)
            backoff.succeeded()
            if not stopping.is_set():
                logger.info("consuming from %s", ", ".join(queues))
                orchestrator.run()

    def is_alive() -> bool:
        return all(monotonic() - orchestrator.alive_at < _STUCK_SECONDS for orchestrator in running)

    metrics.serve(settings.metrics_port, settings.metrics_host, settings.metrics_token, is_alive)
    with calling_on_signals(stop):
        backoff.run(serve, until=lambda: stopping.is_set() or running, wait=stopping.wait, errors=UnavailableError)
    return not stopping.is_set() and any(orchestrator.needs_restart for orchestrator in running)


def _attached(
    stack: ExitStack, blueprints: Sequence[Blueprint], queues: Sequence[str], settings: Settings, shards: Sequence[str]
) -> Orchestrator:
    """Connect an orchestrator and its side loops, closed by *stack*. Raises UnavailableError."""
    url, objects, archive = str(settings.redis_url), _objects(), open_archive(settings.history_database_uri)
    values = None if objects is None else JobValues(objects, limit=settings.max_inline_bytes)
    cleanup = cleanup_rules(objects)
    limits = {"max_connections": settings.redis_max_connections, "prefixes": settings.key_prefixes, **settings.delivery}
    connection = stack.enter_context(broker.connect(url, **limits))
    broker.declare(connection, [blueprint.plan for blueprint in blueprints])
    queues = [*queues, TIMERS, WORKERS, REQUESTS, *settings.celery_tasks, *([REPLIES] if settings.celery_tasks else ())]
    consumer = stack.enter_context(closing(broker.Consumer(connection, queues, prefetch=_PREFETCH, prefixes=shards)))
    server, router = consumer.channel.server, consumer.channel.router
    workers = _workers(settings, WorkerRegistry(server))
    store = Store(
        server,
        router,
        keyring=Keyring(server, settings.group_secret),
        group=settings.group,
        job_ttl_seconds=settings.job_ttl_seconds,
        cleanups=CleanupTimes(*cleanup.seconds_after_end(settings.job_ttl_seconds)),
        is_authorized=workers.may_authenticate,
        max_job_bytes=settings.max_job_bytes,
        max_inline_bytes=None if objects is None else settings.max_inline_bytes,
        cache_bytes=_CACHE_BYTES,
        max_stream_bytes=settings.max_stream_bytes,
        max_retries=settings.job_max_retries,
        notifies=settings.notify_webhook_url is not None,
    )
    store.placement.record()
    clients, read_limits = Clients(**settings.client_tokens), limits_of_file(settings.limits_config)
    store.limits.read_files = lambda: (read_limits(), clients.weights)
    orchestrator = Orchestrator(
        blueprints=blueprints,
        consumer=consumer,
        store=store,
        sweeper=Sweeper(server, router, keeps_jobs=archive is not None, prefixes=shards),
        runner=HandlerRunner(timeout_seconds=settings.handler_timeout_seconds),
        services=HandlerServices(client_of(clients), RedisData(server), partial(files_for, objects), values),
        take_over_seconds=settings.plan_takeover_seconds,
        rules=Rules(settings.max_transitions_per_job, settings.job_max_retries),
        skills_of_signer=workers.skills_of_signer,
        accept_kombu_tasks=settings.accept_kombu_tasks == "true",
        celery_tasks=settings.celery_tasks,
        schedules_of_file=schedules_of_file(settings.schedules_config),
    )
    stack.enter_context(delivering_webhooks(settings, shards, values, on_crash=orchestrator.stop))
    stack.enter_context(removing_files(objects, cleanup, settings, shards, on_crash=orchestrator.stop))
    stack.enter_context(archiving_jobs(archive, server, router, settings, on_crash=orchestrator.stop))
    return orchestrator


def _reduce_garbage_collection() -> None:
    """Collect garbage less often: a batch allocates thousands of short-lived values, and Python's default (a collection
    every 700 allocations) costs 5 % of all CPU time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE, 20, 100)
