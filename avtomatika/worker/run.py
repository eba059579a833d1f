"""Build a running worker from a :class:`Worker` and the environment. The composition root of this package."""

import ctypes
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import NoReturn

from avtomatika import broker, environment, logs, metrics, tracing
from avtomatika.addresses import WEB_SCHEMES
from avtomatika.core.shards import shard_prefixes
from avtomatika.errors import SettingsError
from avtomatika.files.cache import Cache
from avtomatika.files.payload import PayloadFolder
from avtomatika.files.task_storage import TaskStorage
from avtomatika.loading import load_object
from avtomatika.stop_signals import calling_on_signals

from .config import WorkerConfig
from .execution import TaskExecution
from .health import Health
from .links.broker_link import BrokerLink
from .links.http_link import HttpLink
from .links.identity import Identity, WorkerStatus
from .links.link_group import Link, LinkGroup
from .links.scheduler import LinkScheduler, LinkSlot
from .load import Capacity, running_tasks
from .processes import Child, ProcessExecutor, Zygote
from .recycling import RecycleLimits, WorkerRecycler
from .runtime import Runtime
from .spool import Spool, check_separate
from .suspension import SkillSuspension
from .task_stream import capture_logs
from .worker import Worker

logger = logging.getLogger(__name__)

#: URL schemes that a broker link supports.
_BROKER_SCHEMES = ("redis", "rediss", "unix", "sentinel", "redis+cluster", "rediss+cluster")
#: https://man7.org/linux/man-pages/man3/mallopt.3.html
_M_ARENA_MAX = -8


def load_worker(spec: str) -> Worker:
    """Return the worker that ``module:name`` or ``path/to/file.py:name`` names. Raises SettingsError."""
    found = load_object(spec)
    if not isinstance(found, Worker):
        raise SettingsError(f"{spec!r} is of type {type(found).__name__}, but must be a Worker")
    return found


def run_worker(worker: Worker, *, on_forked: Callable[[], None] = lambda: None) -> bool:
    """Run until SIGTERM or SIGINT; a second signal exits at once. Return True if the worker reached its limits and
    should :func:`restart`.

    *on_forked* is called once threads are allowed. Raises SettingsError before anything is started.
    """
    config = WorkerConfig.from_environment()
    if not worker.skills:
        raise SettingsError("the worker has no skill: decorate a function with @worker.skill()")
    _check(config)
    if config.log_capture_level != "OFF":
        capture_logs(config.log_capture_level)
    storage = _storage(config)
    tracing.load()  # children share the memory of its modules
    processes = _processes(worker, config, storage)  # must fork before there are threads
    tracing.start("avtomatika-worker")
    on_forked()
    spool = Spool(config.spool_dir, worker_id=config.worker_id)
    scheduler = LinkScheduler(config.mode, config.addresses, capacity=Capacity(worker.skills, config.concurrency).tasks)
    recycler = _recycler(config, lambda: link.stop())
    suspension = SkillSuspension(storage.probe)
    shared = _Shared(worker, config, storage, processes, spool, scheduler, recycler, suspension)
    link = shared.link()
    kind = f" ({worker.worker_type})" if worker.worker_type else ""
    addresses = ", ".join(map(str, config.addresses))
    received: list[int] = []

    def stop(number: int) -> None:
        if received:
            os._exit(128 + number)
        received.append(number)
        logger.info("%s: shutting down: waiting for running tasks", signal.Signals(number).name)
        link.stop()

    with (
        closing(storage),
        closing(processes),
        closing(spool),
        closing(suspension),
        _health(shared),
        calling_on_signals(stop),
    ):
        metrics.serve(config.metrics_port, config.metrics_host, config.metrics_token)
        logger.info("worker %s%s takes %s from %s", config.worker_id, kind, ", ".join(worker.skills), addresses)
        link.run()
    logger.info("worker %s has stopped", config.worker_id)
    return recycler is not None and recycler.is_due and not received


def run_script(worker: Worker) -> None:
    """Run from a plain script, with the logging of ``avtomatika worker`` if none is configured."""
    if not logging.getLogger().handlers:
        logs.configure(environment.text("LOG_LEVEL") or "INFO", environment.text("LOG_FORMAT"))
    if run_worker(worker):
        restart()


def restart() -> NoReturn:
    """Replace this process with a fresh run of the same command line; the process id is kept."""
    tracing.stop()
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - our own command line


def _check(config: WorkerConfig) -> None:
    """Raise SettingsError for unsupported addresses, missing tokens and overlapping folders."""
    check_separate("WORKER_SPOOL_DIR", config.spool_dir, config.payload_dir)
    check_separate("WORKER_CACHE_DIR", config.cache_dir, config.payload_dir)
    for address in config.addresses:
        if address.scheme not in (*_BROKER_SCHEMES, *WEB_SCHEMES):
            schemes = ", ".join((*WEB_SCHEMES, *_BROKER_SCHEMES))
            raise SettingsError(f"a link to {address} is not supported: the scheme must be one of {schemes}")
        if address.is_web and config.token is None:
            raise SettingsError(f"{address} requires a token: set AVTOMATIKA_WORKER_TOKEN, or the shared WORKER_TOKEN")


def _share_heaps() -> None:
    """Limit the memory arenas of glibc to two, so that threads reuse the memory that others freed.

    Otherwise each thread that transfers files has its own, which grows to the largest need and never shrinks.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 2)


def _storage(config: WorkerConfig) -> TaskStorage:
    if config.s3 is not None:
        _share_heaps()
    return TaskStorage(
        PayloadFolder(config.payload_dir),
        config=config.s3,
        max_task_bytes=config.max_task_bytes,
        max_inline_bytes=config.max_inline_bytes,
        cache=Cache(config.cache_dir, limit_bytes=config.cache_bytes) if config.cache_bytes else None,
    )


def _processes(worker: Worker, config: WorkerConfig, storage: TaskStorage) -> ProcessExecutor:
    is_limited = config.max_memory_mb is not None
    child = Child(worker.skills, worker_id=config.worker_id, storage=storage, is_memory_limited=is_limited)
    return ProcessExecutor(
        Zygote(child.work), max_children=config.concurrency, storage=storage, recycling=_recycle_limits(config)
    )


def _recycler(config: WorkerConfig, recycle: Callable[[], None]) -> WorkerRecycler | None:
    """Return the recycler, or None without limits. With WORKER_POOL=process, child processes are recycled instead."""
    limits = _recycle_limits(config)
    return None if config.pool == "process" or limits is None else WorkerRecycler(recycle, limits)


def _recycle_limits(config: WorkerConfig) -> RecycleLimits | None:
    if config.max_tasks is None and config.max_memory_mb is None:
        return None
    return RecycleLimits(config.max_tasks, config.max_memory_mb and config.max_memory_mb * 1024**2)


@dataclass(frozen=True, slots=True)
class _Shared:
    """Objects that all links of a worker share."""

    worker: Worker
    config: WorkerConfig
    storage: TaskStorage
    processes: ProcessExecutor
    spool: Spool
    scheduler: LinkScheduler
    recycler: WorkerRecycler | None
    suspension: SkillSuspension
    #: The runtime of each link, by index in the address list.
    runtimes: dict[int, Runtime] = field(default_factory=dict)

    def _on_finish(self, *, is_only: bool) -> Callable[[], None] | None:
        """Return the callback for finished tasks. It runs once a task, so it does no more than needed."""
        wake, recycler = None if is_only else self.scheduler.wake, self.recycler
        if recycler is None:
            return wake

        def finish() -> None:
            recycler.task_done()
            if wake is not None:
                wake()

        return finish

    def ages(self) -> dict[str, float]:
        """Return the seconds since each loop of each link last ran."""
        addresses = self.config.addresses
        return {
            loop if len(addresses) == 1 else f"{loop} of {addresses[index]}": age
            for index, runtime in list(self.runtimes.items())
            for loop, age in runtime.ages().items()
        }

    def link(self) -> Link:
        """Return the only link, or a group of all links."""
        addresses = self.config.addresses
        if len(addresses) == 1:
            return self._link_to(0)
        return LinkGroup([(str(address), partial(self._link_to, index)) for index, address in enumerate(addresses)])

    def _link_to(self, index: int) -> Link:
        config, scheduler = self.config, self.scheduler
        address = config.addresses[index]
        is_only_broker = len(config.addresses) == 1 and address.scheme in _BROKER_SCHEMES
        runtime = Runtime(
            self.worker.skills,
            worker_id=config.worker_id,
            concurrency=config.concurrency,
            storage=self.storage,
            processes=self.processes,
            uses_processes=config.pool == "process",
            time_limit_seconds=config.time_limit_seconds,
            kill_after_seconds=config.kill_after_seconds,
            result_ttl_seconds=config.result_ttl_seconds,
            on_finish=self._on_finish(is_only=is_only_broker),
            suspension=self.suspension,
        )
        self.runtimes[index] = runtime
        scheduler.track_running(index, lambda: runtime.running)
        slot = None if is_only_broker else LinkSlot(scheduler, index)
        cache = self.storage.cache if config.s3 is not None else None
        cached_digests = tuple if cache is None else cache.newest
        worker_status = WorkerStatus(
            _identity(self.worker, config),
            scheduler,
            index,
            cached_digests=cached_digests,
            unfit=self.suspension.report,
            tasks=lambda: running_tasks(list(self.runtimes.values())),
        )
        partition = self.spool.partition(str(address))
        if address.scheme in _BROKER_SCHEMES or slot is None:
            return BrokerLink(
                runtime,
                connection=broker.connect(
                    address.url, prefixes=shard_prefixes(config.group, config.shards), **config.delivery
                ),
                drain_timeout_seconds=config.drain_timeout_seconds,
                slot=slot,
                worker_status=worker_status,
                partition=partition,
            )
        return HttpLink(
            runtime,
            address=address,
            worker_status=worker_status,
            slot=slot,
            drain_timeout_seconds=config.drain_timeout_seconds,
            cancel=self._cancel,
            partition=partition,
        )

    def _cancel(self, matches: Callable[[TaskExecution], bool]) -> None:
        """Cancel the executions that *matches* selects, on every link."""
        for runtime in list(self.runtimes.values()):
            runtime.cancel(matches)


def _health(shared: _Shared) -> AbstractContextManager[object]:
    port = shared.config.health_port
    return nullcontext() if port is None else closing(Health(port, shared.ages, shared.suspension.report))


def _identity(worker: Worker, config: WorkerConfig) -> Identity:
    return Identity(
        worker_id=config.worker_id,
        token=config.token or "",
        worker_type=worker.worker_type or "",
        skills={name: skill.schema for name, skill in worker.skills.items()},
        limits={name: skill.limit for name, skill in worker.skills.items()},
        resources=worker.resources if config.resources is None else config.resources,
        costs=worker.costs if config.costs is None else config.costs,
        concurrency=Capacity(worker.skills, config.concurrency).tasks,
    )
