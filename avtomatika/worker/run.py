"""From a worker as written, and the environment, to one that runs: the only place that puts the parts together."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from avtomatika import broker
from avtomatika.errors import SettingsError
from avtomatika.loading import load_object

from .config import Address, WorkerConfig
from .links.broker import BrokerLink
from .links.link import Link
from .runtime import Runtime
from .worker import Worker

logger = logging.getLogger(__name__)

#: What a broker link can speak.
_BROKER_SCHEMES = ("redis", "rediss", "unix")
#: Variables for what this version does not do: said at the start, so that nobody waits for it.
_WITHOUT_EFFECT = ("S3_ENDPOINT_URL", "S3_BUCKET", "WORKER_PAYLOAD_DIR", "WORKER_SPOOL_DIR", "WORKER_CACHE_DIR")


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
    if config.pool != "thread":
        raise SettingsError(f"WORKER_POOL={config.pool!r}: not available in this version, which has only 'thread'")
    for name in filter(environ.get, _WITHOUT_EFFECT):
        logger.warning("%s is set, but has no effect: this version fetches and uploads no files", name)
    address = _one_address(config)
    link = _broker_link(worker, config, address)
    kind = f" ({worker.worker_type})" if worker.worker_type else ""
    logger.info("worker %s%s takes %s from %s", config.worker_id, kind, ", ".join(worker.skills), address)
    with _stopped_by_signals(link):
        link.run()
    logger.info("worker %s has stopped", config.worker_id)


def run_script(worker: Worker) -> None:
    """Work for a plain script, which may not have thought of logging."""
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    run_worker(worker, os.environ)


def _one_address(config: WorkerConfig) -> Address:
    if len(config.addresses) > 1:
        listed = ", ".join(map(str, config.addresses))
        raise SettingsError(
            f"ORCHESTRATORS_CONFIG: several addresses ({listed}) are not available in this version: name one"
        )
    [address] = config.addresses
    if address.scheme not in _BROKER_SCHEMES:
        raise SettingsError(
            f"a link to {address} is not available in this version: "
            f"set ORCHESTRATOR_URL or REDIS_URL to the broker, with the scheme {' or '.join(_BROKER_SCHEMES[:2])}"
        )
    return address


def _broker_link(worker: Worker, config: WorkerConfig, address: Address) -> BrokerLink:
    queues = list(worker.skills)
    if config.has_given_id:  # nobody can know an id that was made up, and so nobody sends it anything
        queues.append(f"@{config.worker_id}")
    return BrokerLink(
        Runtime(worker.skills, worker_id=config.worker_id, concurrency=config.concurrency),
        connection=broker.connect(
            address.url, lease_seconds=config.lease_seconds, max_deliveries=config.max_deliveries
        ),
        queues=queues,
        concurrency=config.concurrency,
        drain_timeout_seconds=config.drain_timeout_seconds,
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
