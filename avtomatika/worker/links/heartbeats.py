"""Heartbeats over a broker: the thread that tells the orchestrators of a worker, whoever of them listens."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic

from avtomatika import broker
from avtomatika.broker import Consumer
from avtomatika.core.plan import WORKERS
from avtomatika.errors import NoRouteError, UnavailableError

from .identity import Pulse, WorkerStatus

logger = logging.getLogger(__name__)

#: Longest time between two heartbeats; shorter leases shorten it: while the broker is away, somebody else must keep
#: what is in hand before it comes to others.
_BEAT_SECONDS = 5.0
#: How often a worker registers anew: nobody says whether it is known.
REGISTER_SECONDS = 30.0
#: Where so many notices wait, nobody listens, and more would only fill the broker.
MOST_NOTICES = 10_000


class Heartbeats:
    """Sent by *intake*; what cannot be sent is left out, for the next one says the same. *when_away* is called then."""

    def __init__(self, intake: Consumer, presence: WorkerStatus, when_away: Callable[[], None] | None = None) -> None:
        self._intake = intake
        self._presence = presence
        self._when_away = when_away
        self._key = presence.identity.key
        self._registered_at = float("-inf")
        self._beat_seconds = min(_BEAT_SECONDS, intake.channel.lease_seconds / 4)
        self.pulse = Pulse()
        self._thread = threading.Thread(target=self._serve, name="heartbeats", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Say good-bye."""
        self.pulse.end()
        self._thread.join()
        self._tell(status="offline")

    def _serve(self) -> None:
        self._tell()
        while self.pulse.wait(self._beat_seconds):
            self._tell()

    def _tell(self, *, status: str | None = None) -> None:
        try:
            if self._intake.message_count(WORKERS) > MOST_NOTICES:
                return
            sent = []
            is_due = monotonic() - self._registered_at >= REGISTER_SECONDS
            if is_due and status is None:
                sent.append(broker.registration(self._presence.identity.registration(), signer=self._key))
                self._presence.registered()
            sent.append(broker.heartbeat(self._presence.heartbeat(status=status), signer=self._key))
            self._intake.settle_many([(sent, ())])
            if is_due:
                self._registered_at = monotonic()
        except (UnavailableError, NoRouteError) as error:
            self._registered_at = float("-inf")
            logger.debug("%s; no heartbeat", error)
            if self._when_away is not None and status is None:
                self._when_away()
        except Exception:  # whatever it is: the worker works on
            logger.exception("a heartbeat could not be sent")
