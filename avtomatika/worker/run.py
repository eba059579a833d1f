"""From a worker as written, and the environment, to one that runs: the only place that puts the parts together."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import NoReturn

from avtomatika import broker
from avtomatika.errors import SettingsError
from avtomatika.files.cache import Cache
from avtomatika.files.malloc import share_heaps
from avtomatika.files.payload import PayloadFolder
from avtomatika.files.task_storage import TaskStorage
from avtomatika.loading import load_object

from .config import WEB_SCHEMES, WorkerConfig
from .execution import TaskExecution
from .fitness import Fitness
from .health import Health
from .links.broker_link import BrokerLink
from .links.http_link import HttpLink
from .links.identity import Identity, WorkerStatus
from .links.link import Link
from .links.link_group import LinkGroup, Member
from .links.scheduler import LinkScheduler, LinkSlot
from .processes import Child, ProcessExecutor, RecycleLimits, Zygote
from .recycling import WorkerRecycler
from .runtime import RunOptions, Runtime
from .spool import Spool, check_apart
from .worker import Worker

logger = logging.getLogger(__name__)

#: What a broker link can speak.
_BROKER_SCHEMES = ("redis", "rediss", "unix", "sentinel")


def load_worker(spec: str) -> Worker:
    """The worker that ``module:name`` or ``path/to/file.py:name`` names; raises SettingsError where there is none."""
    found = load_object(spec)
    if not isinstance(found, Worker):
        raise SettingsError(f"{spec!r} is of type {type(found).__name__}, but must be a Worker")
    return found


def run_worker(worker: Worker, environ: Mapping[str, str], *, when_forked: Callable[[], None] = lambda: None) -> bool:
    """Work as *environ* says until SIGTERM or SIGINT; a second one ends the process at once.

    *when_forked* is called when threads may begin. Whether the worker is worn, and is to :func:`begin_anew`. Raises
    SettingsError before anything is begun.
    """
    config = WorkerConfig.from_environment(environ)
    if not worker.skills:
        raise SettingsError("the worker has no skill: decorate a function with @worker.skill()")
    _check(config)
    storage = _storage(config)
    processes = _processes(worker, config, storage)  # before there are threads
    when_forked()
    spool = Spool(config.spool_dir, worker_id=config.worker_id)
    turns = LinkScheduler(config.mode, config.addresses, capacity=config.concurrency)
    wear = _wear(config, lambda: link.stop())
    fitness = Fitness(storage.probe)
    parts = _Parts(worker, config, storage, _terms(config, processes), spool, turns, wear, fitness)
    link = parts.link()
    kind = f" ({worker.worker_type})" if worker.worker_type else ""
    addresses = ", ".join(map(str, config.addresses))
    logger.info("worker %s%s takes %s from %s", config.worker_id, kind, ", ".join(worker.skills), addresses)
    with (
        closing(storage),
        closing(processes),
        closing(spool),
        closing(fitness),
        _health(parts),
        _stopped_by_signals(link) as signals,
    ):
        link.run()
    logger.info("worker %s has stopped", config.worker_id)
    return wear is not None and wear.is_worn and not signals


def run_script(worker: Worker) -> None:
    """Work for a plain script, which may not have thought of logging."""
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if run_worker(worker, os.environ):
        begin_anew()


def begin_anew() -> NoReturn:
    """Be the same program once more, as if it had just been started: its number stays."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - our own command line


def _check(config: WorkerConfig) -> None:
    """Raises SettingsError for addresses that no link of ours speaks to, or that need a token, and for folders."""
    check_apart("WORKER_SPOOL_DIR", config.spool_dir, config.payload_dir)
    check_apart("WORKER_CACHE_DIR", config.cache_dir, config.payload_dir)
    for address in config.addresses:
        if address.scheme not in (*_BROKER_SCHEMES, *WEB_SCHEMES):
            schemes = ", ".join((*WEB_SCHEMES, *_BROKER_SCHEMES))
            raise SettingsError(
                f"a link to {address} is not available in this version: the scheme must be one of {schemes}"
            )
        if address.is_web and config.token is None:
            raise SettingsError(
                f"{address} lets nobody in without a token: set AVTOMATIKA_WORKER_TOKEN, or the shared WORKER_TOKEN"
            )


def _storage(config: WorkerConfig) -> TaskStorage:
    if config.s3 is not None:
        share_heaps()
    return TaskStorage(
        PayloadFolder(config.payload_dir),
        config=config.s3,
        max_task_bytes=config.max_task_bytes,
        cache=Cache(config.cache_dir, limit_bytes=config.cache_bytes) if config.cache_bytes else None,
    )


def _processes(worker: Worker, config: WorkerConfig, storage: TaskStorage) -> ProcessExecutor:
    is_limited = config.max_memory_mb is not None
    child = Child(worker.skills, worker_id=config.worker_id, storage=storage, is_memory_limited=is_limited)
    is_recycled = (config.max_tasks, config.max_memory_mb) != (None, None)
    recycling = RecycleLimits(config.max_tasks, _memory_bytes(config)) if is_recycled else None
    return ProcessExecutor(Zygote(child.work), at_most=config.concurrency, storage=storage, recycling=recycling)


def _wear(config: WorkerConfig, wear_out: Callable[[], None]) -> WorkerRecycler | None:
    """Where skills run in processes, those wear out in its place."""
    if config.pool == "process" or (config.max_tasks, config.max_memory_mb) == (None, None):
        return None
    return WorkerRecycler(wear_out, tasks=config.max_tasks, memory_bytes=_memory_bytes(config))


def _memory_bytes(config: WorkerConfig) -> int | None:
    return None if config.max_memory_mb is None else config.max_memory_mb * 1024**2


def _terms(config: WorkerConfig, processes: ProcessExecutor) -> RunOptions:
    return RunOptions(
        processes=processes,
        uses_processes=config.pool == "process",
        time_limit_seconds=config.time_limit_seconds,
        kill_after_seconds=config.kill_after_seconds,
    )


@dataclass(frozen=True, slots=True)
class _Parts:
    """What all links of one worker share."""

    worker: Worker
    config: WorkerConfig
    storage: TaskStorage
    terms: RunOptions
    spool: Spool
    turns: LinkScheduler
    wear: WorkerRecycler | None
    fitness: Fitness
    #: That of each link, by its place.
    runtimes: dict[int, Runtime] = field(default_factory=dict)

    def _on_end(self, *, is_only: bool) -> Callable[[], None] | None:
        """What each task that ends is told to; the less, the quicker."""
        wake, wear = None if is_only else self.turns.wake, self.wear
        if wear is None:
            return wake

        def both() -> None:
            wear.ended()
            if wake is not None:
                wake()

        return both

    def ages(self) -> dict[str, float]:
        """How many seconds ago each loop of each link has moved."""
        addresses = self.config.addresses
        return {
            loop if len(addresses) == 1 else f"{loop} of {addresses[place]}": age
            for place, runtime in list(self.runtimes.items())
            for loop, age in runtime.ages().items()
        }

    def link(self) -> Link:
        """The one link, or all of them together."""
        addresses = self.config.addresses
        if len(addresses) == 1:
            return self._link_to(0)
        return LinkGroup(
            [Member(str(address), partial(self._link_to, place)) for place, address in enumerate(addresses)]
        )

    def _link_to(self, place: int) -> Link:
        config, turns = self.config, self.turns
        address = config.addresses[place]
        is_only_broker = len(config.addresses) == 1 and address.scheme in _BROKER_SCHEMES
        runtime = Runtime(
            self.worker.skills,
            worker_id=config.worker_id,
            concurrency=config.concurrency,
            storage=self.storage,
            terms=self.terms,
            on_end=self._on_end(is_only=is_only_broker),
            fitness=self.fitness,
        )
        self.runtimes[place] = runtime
        turns.count(place, lambda: runtime.running)
        seat = None if is_only_broker else LinkSlot(turns, place)
        cache = self.storage.cache if config.s3 is not None else None
        holdings = tuple if cache is None else cache.newest
        presence = WorkerStatus(
            _identity(self.worker, config), turns, place, holdings=holdings, unfit=self.fitness.report
        )
        shelf = self.spool.shelf(str(address))
        if address.scheme in _BROKER_SCHEMES or seat is None:
            return BrokerLink(
                runtime,
                connection=broker.connect(address.url, **config.delivery),
                drain_timeout_seconds=config.drain_timeout_seconds,
                seat=seat,
                presence=presence,
                shelf=shelf,
            )
        return HttpLink(
            runtime,
            address=address,
            presence=presence,
            seat=seat,
            drain_timeout_seconds=config.drain_timeout_seconds,
            cancel=self._cancel,
            shelf=shelf,
        )

    def _cancel(self, is_meant: Callable[[TaskExecution], bool]) -> None:
        """Have what *is_meant* end soon, whichever link it came by."""
        for runtime in list(self.runtimes.values()):
            runtime.cancel(is_meant)


def _health(parts: _Parts) -> AbstractContextManager[object]:
    port = parts.config.health_port
    return nullcontext() if port is None else closing(Health(port, parts.ages, parts.fitness.report))


def _identity(worker: Worker, config: WorkerConfig) -> Identity:
    return Identity(
        worker_id=config.worker_id,
        token=config.token or "",
        worker_type=worker.worker_type or "",
        skills={name: skill.schema for name, skill in worker.skills.items()},
        resources=worker.resources if config.resources is None else config.resources,
        costs=worker.costs if config.costs is None else config.costs,
        concurrency=config.concurrency,
    )


@contextmanager
def _stopped_by_signals(link: Link) -> Iterator[Sequence[int]]:
    """SIGTERM and SIGINT stop *link*; those that came are answered. Only the main thread of a process may say so."""
    signals: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return

    def on_signal(number: int, _: FrameType | None) -> None:
        if signals:
            os._exit(128 + number)
        signals.append(number)
        logger.info("%s: taking nothing new; what is begun may end", signal.Signals(number).name)
        link.stop()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
