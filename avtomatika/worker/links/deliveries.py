"""Deliveries: the thread that brings results to the web address that their tasks came from.

While it is away they wait here, and heartbeats go on to name their tasks, so that nobody else begins with them.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from time import time
from typing import Any

from avtomatika.errors import AvtomatikaError, InvalidRequest, NotFound
from avtomatika.schemas import wire
from avtomatika.worker.assignment import Assignment
from avtomatika.worker.runtime import Runtime

from .backoff import pause_seconds
from .exchange import Exchange

logger = logging.getLogger(__name__)

#: How long the thread sleeps when nobody wakes it.
_IDLE_SECONDS = 5.0


class Deliveries:
    """Brings what *runtime* has done by *exchange*. ``in_hand`` are the tasks whose results were not brought yet."""

    def __init__(self, runtime: Runtime, exchange: Exchange, worker_id: str) -> None:
        self._runtime = runtime
        self._exchange = exchange
        self._worker_id = worker_id
        self._unsent: deque[dict[str, Any]] = deque()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="results", daemon=True)
        self.in_hand: dict[str, wire.TaskMessage] = {}
        #: Set when a result was brought.
        self.changed = threading.Event()

    @property
    def is_done(self) -> bool:
        return not self._runtime.busy and not self._unsent

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Bring nothing more."""
        self._stopping.set()
        self._runtime.wake()
        self._exchange.abort()
        self._thread.join()
        self._exchange.close()
        for body in self._unsent:
            logger.error("task %s: its result could not be brought", body["task_id"])

    def _serve(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            for assignment in self._runtime.collect(0 if self._unsent else _IDLE_SECONDS):
                self._unsent.append(_body(assignment, self._worker_id))
            try:
                while self._unsent and not self._stopping.is_set():
                    self._bring(self._unsent[0])
                    failures = 0
            except AvtomatikaError as error:
                failures += 1
                pause = pause_seconds(failures)
                logger.warning("%s; results (%d) wait %.1f s", error, len(self._unsent), pause)
                self._stopping.wait(pause)

    def _bring(self, body: dict[str, Any]) -> None:
        """Bring one result; raises what says that it may be taken later."""
        try:
            answer = self._exchange.ask("POST", "/_worker/tasks/result", body) or {}
        except (InvalidRequest, NotFound) as error:
            logger.error("task %s: %s; its result is given up", body["task_id"], error)
        else:
            if answer.get("status") == "ignored":
                logger.warning("task %s: its result does not count: %s", body["task_id"], answer.get("message"))
        self._unsent.popleft()
        self.in_hand.pop(body["task_id"], None)
        self.changed.set()
        self.changed.clear()


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
