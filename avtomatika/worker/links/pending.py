"""Results that a link has not sent yet, and their form in the spool."""

import logging
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import monotonic, time
from typing import Any, Self

import orjson

from avtomatika.broker import Outgoing, forwarded_headers
from avtomatika.core.events import Result
from avtomatika.core.job import Json
from avtomatika.errors import NoRouteError
from avtomatika.schemas.wire import TaskMessage
from avtomatika.worker.execution import TaskExecution
from avtomatika.worker.spool import SpooledResult

logger = logging.getLogger(__name__)

#: Delay before an unroutable result is sent again ...
_DEFER_SECONDS = 2.0
#: ... and the time after which it is dropped.
_MAX_DEFER_SECONDS = 24 * 3600.0


@dataclass(slots=True, eq=False)
class PendingResult:
    """The *result* of *task*; *encoded* are its data as JSON, and *finished_at* is a Unix time in seconds.

    *execution* is None for a result that is only in the spool. *headers* and *tag* are those of the delivery of a
    broker link, which this worker holds while it *is_leased*; *message* answers it. *path* is the file in the spool.
    *upload* stores large data while it runs, and *reported* is the last reported reason why the result is kept.

    It is not sent before ``due_at``, a monotonic time.
    """

    task: TaskMessage
    result: Result
    encoded: bytes | None
    execution: TaskExecution | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    tag: str = ""
    is_leased: bool = False
    message: Outgoing | None = None
    finished_at: int = field(default_factory=lambda: int(time()))
    path: Path | None = None
    upload: Future[Json] | None = None
    reported: str = ""
    due_at: float = 0.0
    written_at: float = field(default_factory=monotonic)

    @classmethod
    def of(cls, execution: TaskExecution) -> Self:
        """Return the result of a finished execution. Tasks that came over HTTP have no delivery of the broker."""
        if execution.result is None:
            raise RuntimeError(f"task {execution.task.task_id} has no result yet")
        pending = cls(execution.task, execution.result, execution.encoded, execution)
        if tag := getattr(execution.origin, "tag", ""):
            pending.tag, pending.is_leased = tag, True
            pending.headers = forwarded_headers(execution.origin.headers)
        return pending

    @property
    def task_id(self) -> str:
        return self.task.task_id

    def as_json(self) -> dict[str, Any]:
        """Return the content for the spool: without the params, and with the data only if the message lacks them."""
        data = None if self.message else orjson.Fragment(self.encoded or b"null")
        return {
            "task": asdict(replace(self.task, params={})),
            "result": asdict(replace(self.result, data=None)) | {"data": data},
            "headers": dict(self.headers),
            "tag": self.tag,
            "message": self.message and asdict(self.message),
            "finished_at": self.finished_at,
        }

    @classmethod
    def from_spool(cls, spooled: SpooledResult) -> Self:
        """Restore a result, possibly of a worker that has exited."""
        content: Mapping[str, Any] = spooled.content
        task = TaskMessage(**{**content["task"], "outcomes": tuple(content["task"]["outcomes"])})
        result = Result(**content["result"])
        encoded = None if result.data is None else orjson.dumps(result.data)
        message = content["message"] and Outgoing(**content["message"])
        pending = cls(task, result, encoded, None, content["headers"], content["tag"], message=message)
        pending.finished_at, pending.path = content["finished_at"], spooled.path
        return pending

    def defer(self) -> bool:
        """Postpone it; return False if it was postponed for too long."""
        self.due_at = monotonic() + _DEFER_SECONDS
        return self.due_at - self.written_at < _MAX_DEFER_SECONDS


def send_each(results: deque[PendingResult], send: Callable[[PendingResult], None]) -> list[PendingResult]:
    """Call *send* for each result, and remove it from *results*. Unroutable results are deferred, since a binding may
    be missing for a moment. Return those that were dropped."""
    deferred: list[PendingResult] = []
    dropped: list[PendingResult] = []
    try:
        while results:
            pending = results[0]
            try:
                send(pending)
            except NoRouteError as error:
                (deferred if pending.defer() else dropped).append(pending)
                logger.warning("task %s: its result cannot be routed yet: %s", pending.task_id, error)
            results.popleft()
    finally:
        results.extend(deferred)
    return dropped
