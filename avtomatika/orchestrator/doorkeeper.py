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

#: How many strangers are remembered, so that the log tells of each once.
_MOST_STRANGERS = 1_000
#: Whether a worker, by its id, may come in and has signed a text.
SignedByWorker = Callable[[str, bytes], bool]


class Doorkeeper:
    """Stands between *intake* and who acts. Without *signed_by_worker* workers on the broker need no token."""

    def __init__(self, intake: Intake, store: Store, signed_by_worker: SignedByWorker | None = None) -> None:
        self._intake = intake
        self._store = store
        self._signed_by_worker = signed_by_worker
        #: Those that were told of in the log.
        self._strangers: set[str] = set()

    def events(self, deliveries: Sequence[Delivery]) -> list[tuple[Delivery, Arrival]]:
        return self._readable(deliveries, lambda delivery: Arrival.read(delivery, self._check))

    def notices(self, deliveries: Sequence[Delivery]) -> list[tuple[Delivery, wire.Notice]]:
        """Nothing is heard of workers that may not come in. They say something every few seconds, so it makes no dead
        letters."""
        heard: list[tuple[Delivery, wire.Notice]] = []
        strange: list[tuple[Delivery, wire.Notice]] = []
        for delivery, notice in self._readable(deliveries, lambda delivery: wire.load_notice(delivery.body)):
            is_known = self._is_by(notice.worker_id, delivery.body)
            (heard if is_known else strange).append((delivery, notice))
        for worker_id in {notice.worker_id for _, notice in strange} - self._strangers:
            logger.warning("worker %r may not come in, or has no token: nothing is heard of it", worker_id)
            self._strangers = {*list(self._strangers)[:_MOST_STRANGERS], worker_id}
        self._intake.ack([delivery.tag for delivery, _ in strange])
        return heard

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
        if kind != "result":
            if not secret.is_signed(text):
                raise wire.Forged(kind, job_id=job_id, reason=wire.UNSIGNED)
            return
        if not secret.is_ticket(body.get("ticket"), body["task_id"], body["attempt"]):
            raise wire.Forged(kind, job_id=job_id, reason="it does not carry the ticket that came with the task")
        worker_id = body.get("worker_id")
        if not self._is_by(worker_id, text):
            reason = f"worker {worker_id!r} may not come in, or has not signed it with its token"
            raise wire.Forged(kind, job_id=job_id, reason=reason, is_answer=True)

    def _is_by(self, worker_id: str | None, text: bytes) -> bool:
        """Whether a worker says so itself, or the web, which vouches for those who came by it."""
        if self._signed_by_worker is None or self._store.keyring.secret.is_signed(text):
            return True
        return worker_id is not None and self._signed_by_worker(worker_id, text)
