"""Heartbeats over a broker, sent by a thread to whichever orchestrator listens."""

import logging
import threading
from collections.abc import Callable
from time import monotonic

from avtomatika import broker
from avtomatika.broker import Consumer
from avtomatika.core.plan import WORKERS
from avtomatika.errors import NoRouteError, UnavailableError

from .identity import WorkerStatus

logger = logging.getLogger(__name__)

#: Maximum interval. With short leases it is a quarter of the lease, so that a web address can adopt the tasks before
#: their leases expire.
_HEARTBEAT_SECONDS = 5.0
#: Interval between registrations, since no reply says whether the worker is known.
REGISTER_SECONDS = 30.0
#: Maximum number of queued notices: that many are not being read, and more would only fill the broker.
MAX_QUEUED_NOTICES = 10_000


class Heartbeats:
    """Sends heartbeats through *consumer*. One that fails is dropped, since the next repeats it, and *on_disconnect* is
    called."""

    def __init__(
        self, consumer: Consumer, worker_status: WorkerStatus, on_disconnect: Callable[[], None] | None = None
    ) -> None:
        self._consumer = consumer
        self._worker_status = worker_status
        self._on_disconnect = on_disconnect
        self._key = worker_status.identity.key
        self._registered_at = float("-inf")
        self._heartbeat_seconds = min(_HEARTBEAT_SECONDS, consumer.channel.lease_seconds / 4)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="heartbeats", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop, and announce that the worker is offline."""
        self._stopping.set()
        self._thread.join()
        self._send(status="offline")

    def _serve(self) -> None:
        self._send()
        while not self._stopping.wait(self._heartbeat_seconds):
            self._send()

    def _send(self, *, status: str | None = None) -> None:
        try:
            if self._consumer.message_count(WORKERS) > MAX_QUEUED_NOTICES:
                return
            sent = []
            is_due = monotonic() - self._registered_at >= REGISTER_SECONDS
            if is_due and status is None:
                sent.append(broker.registration(self._worker_status.identity.registration(), signer=self._key))
                self._worker_status.mark_registered()
            sent.append(broker.heartbeat(self._worker_status.heartbeat(status=status), signer=self._key))
            self._consumer.settle_many([(sent, ())])
            if is_due:
                self._registered_at = monotonic()
        except (UnavailableError, NoRouteError) as error:
            self._registered_at = float("-inf")
            logger.debug("%s; heartbeat not sent", error)
            if self._on_disconnect is not None and status is None:
                self._on_disconnect()
        except Exception:  # a heartbeat must not stop the worker
            logger.exception("cannot send a heartbeat")
