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
        return self._readable(deliveries, lambda delivery: Arrival.read(delivery, self._check))

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
        """The job gets a note. It is told no more, for whom to tell was written by the same hand; unless it would wait
        for ever: then it goes into quarantine."""
        logger.error("queue %s: %s; to the dead letters", delivery.queue, error)
        event_type = "task_result_ignored" if error.kind == "result" else "event_ignored"
        self._store.note(error.job_id, {"event_type": event_type, "kind": error.kind, "reason": error.reason})
        reason = f"forged: {error.reason}" if error.is_answer else "forged"
        self._intake.bury(delivery, reason=reason, error=str(error), tell=error.is_answer)

    def _check(self, kind: str, body: Mapping[str, Any], text: bytes) -> None:
        secret, job_id = self._store.keyring.secret, body["job_id"]
        is_ours = secret.is_signed(text)
        if kind != "result":
            if not is_ours:
                raise wire.Forged(kind, job_id=job_id, reason=wire.UNSIGNED)
            return
        if not secret.is_ticket(body.get("ticket"), body["task_id"], body["attempt"]):
            raise wire.Forged(kind, job_id=job_id, reason="it does not carry the ticket that came with the task")
        if is_ours or self._signed_by_worker is None:  # the web vouches for those who came by it
            return
        worker_id = body["worker_id"]
        if not isinstance(worker_id, str) or not self._signed_by_worker(worker_id, text):
            reason = f"worker {worker_id!r} may not come in, or has not signed it with its token"
            raise wire.Forged(kind, job_id=job_id, reason=reason, is_answer=True)
