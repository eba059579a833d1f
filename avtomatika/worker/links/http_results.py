"""Deliveries: how results go to the web address that their tasks came from, or to another one of the same group.

Until one is brought, heartbeats go on to name its task, so that nobody else begins with it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from time import time
from typing import Any
from uuid import uuid4

from avtomatika.errors import InvalidRequestError, UnauthorizedError, UnavailableError
from avtomatika.schemas import wire
from avtomatika.worker.config import Address
from avtomatika.worker.execution import TaskExecution
from avtomatika.worker.spool import SpooledResult

from .identity import Identity
from .outbox import PendingResult, send_each
from .peers import Peers
from .scheduler import LinkSlot

logger = logging.getLogger(__name__)

#: How much of an unexpected answer is told.
_SHOWN = 120


class HttpResultSender:
    """The courier of the link that *seat* belongs to. ``in_hand`` are the tasks whose results were not brought yet."""

    def __init__(self, identity: Identity, seat: LinkSlot, own: Address | None = None) -> None:
        """*own* is the address of the link, where that is one that takes results."""
        self._identity = identity
        self._fellows = Peers(identity, seat, own)
        self.in_hand: dict[str, object] = {}
        seat.holds(self.in_hand)

    def write(self, assignment: TaskExecution) -> PendingResult:
        return PendingResult(
            assignment.task.task_id, assignment.task.attempt, _body(assignment, self._identity.worker_id)
        )

    def pack(self, letter: PendingResult) -> Mapping[str, Any]:
        content: dict[str, Any] = letter.content
        return content

    def unpack(self, kept: SpooledResult) -> PendingResult:
        letter = PendingResult(kept.task_id, kept.attempt, dict(kept.content), kept.place)
        if self._is_ours(letter):
            self.in_hand[letter.task_id] = letter
        return letter

    def send(self, letters: deque[PendingResult]) -> None:
        for letter in send_each(letters, self.bring):
            self.in_hand.pop(letter.task_id, None)

    def tell(self, progress: Sequence[wire.Progress]) -> None:
        for each in progress:
            self._fellows.ask("/_worker/events", _event(each))

    def abort(self) -> None:
        self._fellows.abort()

    def close(self) -> None:
        self._fellows.close()

    def bring(self, letter: PendingResult) -> None:
        """Bring one result; raises what says that it may be taken later."""
        refusals = (InvalidRequestError,) if self._is_ours(letter) else (InvalidRequestError, UnauthorizedError)
        try:
            answer = self._fellows.ask("/_worker/tasks/result", letter.content) or {}
        except refusals as error:
            logger.error("task %s: %s; its result is given up", letter.task_id, error)
        else:
            match answer.get("status"):
                case "accepted":
                    pass
                case "ignored":
                    logger.warning("task %s: its result does not count: %s", letter.task_id, answer.get("message"))
                case _:  # something else than an orchestrator has answered
                    raise UnavailableError(f"the result of task {letter.task_id} was not taken: {str(answer)[:_SHOWN]}")
        self.in_hand.pop(letter.task_id, None)

    def _is_ours(self, letter: PendingResult) -> bool:
        """Whether it is by this worker, and not by one that had another id and left it in the spool."""
        return bool(letter.content["worker_id"] == self._identity.worker_id)


def _event(progress: wire.Progress) -> dict[str, Any]:
    """Progress as the gateway takes it."""
    return {
        "event_id": str(uuid4()),
        "worker_id": progress.worker_id,
        "event_type": "progress",
        "payload": {"progress": progress.progress, "message": progress.message},
        "target_job_id": progress.job_id,
        "target_task_id": progress.task_id,
        "attempt": progress.attempt,
        "timestamp": int(time()),
    }


def _body(assignment: TaskExecution, worker_id: str) -> dict[str, Any]:
    """A result as the gateway takes it: always the same bytes, so that it is known when it comes again."""
    result = assignment.result
    if result is None:
        raise RuntimeError(f"task {assignment.task.task_id} has no result yet")
    body: dict[str, Any] = {
        "job_id": result.job_id,
        "task_id": result.task_id,
        "attempt": result.attempt,
        "worker_id": worker_id,
        "status": result.status,
        "costs": {"execution_time_seconds": (result.duration_ms or 0) / 1000},
        "timestamp": int(time()),
    }
    if result.data is not None:
        body["data"] = result.data if isinstance(result.data, dict) else {"result": result.data}
    if result.error is not None:
        body["error"] = dict(result.error)
    return body
