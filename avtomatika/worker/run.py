"""From a worker as written, and the environment, to one that runs: the only place that puts the parts together."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from types import FrameType

from avtomatika import broker
from avtomatika.errors import SettingsError
from avtomatika.files.depot import Depot
from avtomatika.files.payload import PayloadFolder
from avtomatika.loading import load_object

from .config import Address, WorkerConfig
from .links.broker import BrokerLink
from .links.group import LinkGroup, Member
from .links.http import HttpLink
from .links.link import Link
from .links.presence import Identity, Presence
from .links.turns import Seat, Turns
from .processes import Child, Processes, Recycling, Zygote
from .runtime import Runtime, Terms
from .worker import Worker

logger = logging.getLogger(__name__)

#: What a broker link can speak.
_BROKER_SCHEMES = ("redis", "rediss", "unix", "sentinel")
#: What a link over HTTP can speak.
_WEB_SCHEMES = ("http", "https")
#: Variables for what this version does not do: said at the start, so that nobody waits for it.
_WITHOUT_EFFECT = ("WORKER_SPOOL_DIR", "WORKER_CACHE_DIR")


def load_worker(spec: str) -> Worker:
    """The worker that ``module:name`` or ``path/to/file.py:name`` names; raises SettingsError where there is none."""
    found = load_object(spec)
    if not isinstance(found, Worker):
        raise SettingsError(f"{spec!r} is of type {type(found).__name__}, but must be a Worker")
    return found


def run_worker(worker: Worker, environ: Mapping[str, str]) -> None:
    """Work as *environ* says until SIGTERM or SIGINT; a second one ends the process at once.

    Raises SettingsError before anything is begun.
    """
    config = WorkerConfig.from_environment(environ)
    if not worker.skills:
        raise SettingsError("the worker has no skill: decorate a function with @worker.skill()")
    for name in filter(environ.get, _WITHOUT_EFFECT):
        logger.warning("%s is set, but has no effect in this version", name)
    _check(config)
    depot = Depot(PayloadFolder(config.payload_dir), config=config.s3, max_task_bytes=config.max_task_bytes)
    processes = _processes(worker, config, depot)  # before there are threads
    link = _link(worker, config, depot, _terms(config, processes))
    kind = f" ({worker.worker_type})" if worker.worker_type else ""
    addresses = ", ".join(map(str, config.addresses))
    logger.info("worker %s%s takes %s from %s", config.worker_id, kind, ", ".join(worker.skills), addresses)
    with closing(depot), closing(processes), _stopped_by_signals(link):
        link.run()
    logger.info("worker %s has stopped", config.worker_id)


def run_script(worker: Worker) -> None:
    """Work for a plain script, which may not have thought of logging."""
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    run_worker(worker, os.environ)


def _check(config: WorkerConfig) -> None:
    """Raises SettingsError for addresses that no link of ours speaks to, or that need a token."""
    for address in config.addresses:
        if address.scheme not in (*_BROKER_SCHEMES, *_WEB_SCHEMES):
            schemes = ", ".join((*_WEB_SCHEMES, *_BROKER_SCHEMES))
            raise SettingsError(
                f"a link to {address} is not available in this version: the scheme must be one of {schemes}"
            )
        if address.scheme in _WEB_SCHEMES and config.token is None:
            raise SettingsError(
                f"{address} lets nobody in without a token: set AVTOMATIKA_WORKER_TOKEN, or the shared WORKER_TOKEN"
            )


def _processes(worker: Worker, config: WorkerConfig, depot: Depot) -> Processes:
    child = Child(worker.skills, worker_id=config.worker_id, depot=depot)
    memory_bytes = None if config.max_memory_mb is None else config.max_memory_mb * 1024 * 1024
    recycling = Recycling(config.max_tasks, memory_bytes)
    return Processes(Zygote(child.work), at_most=config.concurrency, depot=depot, recycling=recycling)


def _terms(config: WorkerConfig, processes: Processes) -> Terms:
    return Terms(
        processes=processes,
        uses_processes=config.pool == "process",
        time_limit_seconds=config.time_limit_seconds,
        kill_after_seconds=config.kill_after_seconds,
    )


def _link(worker: Worker, config: WorkerConfig, depot: Depot, terms: Terms) -> Link:
    """The one link, or all of them together."""
    turns = Turns(config.mode, config.addresses, capacity=config.concurrency)
    make = partial(
        Runtime, worker.skills, worker_id=config.worker_id, concurrency=config.concurrency, depot=depot, terms=terms
    )
    if len(config.addresses) == 1:
        return _link_to(0, worker, config, make, turns)
    return LinkGroup(
        [
            Member(str(address), partial(_link_to, place, worker, config, make, turns))
            for place, address in enumerate(config.addresses)
        ]
    )


def _link_to(
    place: int, worker: Worker, config: WorkerConfig, make_runtime: Callable[..., Runtime], turns: Turns
) -> Link:
    address = config.addresses[place]
    is_only_broker = len(config.addresses) == 1 and address.scheme in _BROKER_SCHEMES
    runtime = make_runtime(on_end=None if is_only_broker else turns.wake)
    turns.count(place, lambda: runtime.running)
    seat = None if is_only_broker else Seat(turns, place)
    presence = Presence(_identity(worker, config), turns, place)
    if address.scheme in _BROKER_SCHEMES or seat is None:
        return _broker_link(runtime, config, address, seat=seat, presence=presence)
    return HttpLink(
        runtime, address=address, presence=presence, seat=seat, drain_timeout_seconds=config.drain_timeout_seconds
    )


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


def _broker_link(
    runtime: Runtime, config: WorkerConfig, address: Address, *, seat: Seat | None, presence: Presence
) -> BrokerLink:
    return BrokerLink(
        runtime,
        connection=broker.connect(
            address.url, lease_seconds=config.lease_seconds, max_deliveries=config.max_deliveries
        ),
        queues=list(presence.identity.skills),
        concurrency=config.concurrency,
        drain_timeout_seconds=config.drain_timeout_seconds,
        seat=seat,
        presence=presence,
    )


@contextmanager
def _stopped_by_signals(link: Link) -> Iterator[None]:
    """SIGTERM and SIGINT stop *link*. Only the main thread of a process may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals: list[int] = []

    def on_signal(number: int, _: FrameType | None) -> None:
        if signals:
            os._exit(128 + number)
        signals.append(number)
        logger.info("%s: taking nothing new; what is begun may end", signal.Signals(number).name)
        link.stop()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
