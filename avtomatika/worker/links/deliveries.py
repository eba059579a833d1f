"""Deliveries: how results go to the web address that their tasks came from.

Until one is brought, heartbeats go on to name its task, so that nobody else begins with it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from time import time
from typing import Any
from uuid import uuid4

from avtomatika.errors import InvalidRequest, NotFound
from avtomatika.schemas import wire
from avtomatika.worker.assignment import Assignment

from .exchange import Exchange
from .outbox import Letter

logger = logging.getLogger(__name__)


class Deliveries:
    """The courier of a link over HTTP. ``in_hand`` are the tasks whose results were not brought yet."""

    def __init__(self, exchange: Exchange, worker_id: str) -> None:
        self._exchange = exchange
        self._worker_id = worker_id
        self.in_hand: dict[str, wire.TaskMessage] = {}

    def write(self, assignment: Assignment) -> Letter:
        return Letter(assignment.task.task_id, assignment.task.attempt, _body(assignment, self._worker_id))

    def send(self, letters: deque[Letter]) -> None:
        while letters:
            self._bring(letters[0])
            self.in_hand.pop(letters.popleft().task_id, None)

    def tell(self, progress: Sequence[wire.Progress]) -> None:
        for each in progress:
            self._exchange.ask("POST", "/_worker/events", _event(each))

    def abort(self) -> None:
        self._exchange.abort()

    def close(self) -> None:
        self._exchange.close()

    def _bring(self, letter: Letter) -> None:
        """Bring one result; raises what says that it may be taken later."""
        try:
            answer = self._exchange.ask("POST", "/_worker/tasks/result", letter.content) or {}
        except (InvalidRequest, NotFound) as error:
            logger.error("task %s: %s; its result is given up", letter.task_id, error)
        else:
            if answer.get("status") == "ignored":
                logger.warning("task %s: its result does not count: %s", letter.task_id, answer.get("message"))


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


def _body(assignment: Assignment, worker_id: str) -> dict[str, Any]:
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
