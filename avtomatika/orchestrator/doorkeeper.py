"""The doorkeeper: lets in what can be read and is by whom it should be; the rest goes to the dead letters.

What the group says of itself carries its signature. An answer carries the ticket that came with its task; and where
workers have tokens, the signature of its worker, or of the web that let the worker in. All else moves no job.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from avtomatika.broker import Delivery, Intake
from avtomatika.schemas import wire
from avtomatika.store import Store

from .work import Arrival

logger = logging.getLogger(__name__)
T = TypeVar("T")

#: Whether a worker, by its id, may come in and has signed a text.
SignedByWorker = Callable[[str, bytes], bool]


class Doorkeeper:
    """Stands between *intake* and who acts. Without *signed_by_worker* workers on the broker need no token."""

    def __init__(self, intake: Intake, store: Store, signed_by_worker: SignedByWorker | None = None) -> None:
        self._intake = intake
        self._store = store
        self._signed_by_worker = signed_by_worker

    def events(self, deliveries: Sequence[Delivery]) -> list[tuple[Delivery, Arrival]]:
        return self._readable(deliveries, lambda delivery: Arrival.read(delivery, self._doubt))

    def notices(self, deliveries: Sequence[Delivery]) -> list[tuple[Delivery, wire.Notice]]:
        return self._readable(deliveries, lambda delivery: wire.load_notice(delivery.body))

    def due(self, deliveries: Sequence[Delivery]) -> list[tuple[Delivery, wire.Due]]:
        """What is in them is looked at when it comes to its state."""
        return self._readable(deliveries, lambda delivery: wire.load_due(delivery.body))

    def _readable(self, deliveries: Sequence[Delivery], read: Callable[[Delivery], T]) -> list[tuple[Delivery, T]]:
        found = []
        for delivery in deliveries:
            try:
                found.append((delivery, read(delivery)))
            except wire.Forged as error:
                self._refuse(delivery, error)
            except wire.BadMessage as error:
                logger.error("queue %s: %s; to the dead letters", delivery.queue, error)
                self._intake.bury(delivery, reason=str(error))
        return found

    def _refuse(self, delivery: Delivery, error: wire.Forged) -> None:
        """The job gets a note, and is not told otherwise: whom to tell was written by the same hand."""
        logger.error("queue %s: %s; to the dead letters", delivery.queue, error)
        event_type = "task_result_ignored" if error.kind == "result" else "event_ignored"
        self._store.note(error.job_id, {"event_type": event_type, "kind": error.kind, "reason": error.reason})
        self._intake.bury(delivery, reason="forged", error=str(error), tell=False)

    def _doubt(self, kind: str, body: Mapping[str, Any], text: bytes) -> str | None:
        secret = self._store.keyring.secret
        if kind != "result":
            return None if secret.is_signed(text) else "it does not carry the group's signature"
        if not secret.is_ticket(body.get("ticket"), body["task_id"], body["attempt"]):
            return "it does not carry the ticket that came with the task"
        if self._signed_by_worker is None or secret.is_signed(text):  # the web vouches for those who came by it
            return None
        worker_id = body["worker_id"]
        if isinstance(worker_id, str) and self._signed_by_worker(worker_id, text):
            return None
        return f"worker {worker_id!r} may not come in, or has not signed it with its token"
