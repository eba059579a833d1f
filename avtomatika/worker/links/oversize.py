"""Results that are too large for a message: they are stored in S3, or kept in the spool until they can be sent.

A kept result is never sent as it is, and its task is not run again meanwhile.
"""

import logging
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Self

import orjson

from avtomatika.core.events import Result
from avtomatika.core.job import Json
from avtomatika.errors import TaskError
from avtomatika.files.task_files import store_large_values
from avtomatika.files.task_storage import TaskStorage
from avtomatika.files.transfer_progress import size_text
from avtomatika.schemas.wire import Progress, TaskMessage
from avtomatika.worker.execution import TaskExecution
from avtomatika.worker.result import ResultTooLargeError, result_of_error

logger = logging.getLogger(__name__)

#: Member of a spooled result that is too large.
_OVERSIZE = "oversize"


@dataclass(slots=True, eq=False)
class OversizeResult:
    """A *result* of *task* that is too large; *encoded* are its data as JSON.

    *headers* and *tag* are those of the delivery of a broker link; *is_acknowledged* once the delivery is. *upload*
    stores the data, while it runs. *reported* is the last reason that was reported.
    """

    task: TaskMessage
    result: Result
    encoded: bytes | None
    headers: Mapping[str, Any]
    tag: str | None = None
    is_acknowledged: bool = False
    upload: Future[Json] | None = None
    reported: str = ""

    @classmethod
    def of(cls, execution: TaskExecution, headers: Mapping[str, Any], tag: str | None = None) -> Self:
        if execution.result is None:
            raise RuntimeError(f"task {execution.task.task_id} has no result yet")
        task = replace(execution.task, params={})
        return cls(task, execution.result, execution.encoded, headers, tag)

    def as_json(self) -> dict[str, Any]:
        """Return the content of a spooled result."""
        result = asdict(replace(self.result, data=None)) | {"data": orjson.Fragment(self.encoded or b"null")}
        values = {"task": asdict(self.task), "result": result, "headers": dict(self.headers), "tag": self.tag}
        return {_OVERSIZE: values}

    @classmethod
    def from_json(cls, content: Mapping[str, Json]) -> Self | None:
        """Return the spooled result, or None if it was not too large."""
        values = content.get(_OVERSIZE)
        if values is None:
            return None
        task = TaskMessage(**{**values["task"], "outcomes": tuple(values["task"]["outcomes"])})
        result = Result(**values["result"])
        return cls(task, result, orjson.dumps(result.data), values["headers"], values["tag"], is_acknowledged=True)


class OversizeResults:
    """Makes results small enough, with *storage*. After *ttl_seconds* in the spool a result becomes a failure."""

    def __init__(self, storage: TaskStorage, *, ttl_seconds: float) -> None:
        self._storage = storage
        self._ttl_seconds = ttl_seconds

    def reason_to_keep(self, oversize: OversizeResult, *, age_seconds: float) -> str | None:
        """Return why the result cannot be sent yet; None if it is small enough now."""
        size, limit = len(oversize.encoded or b""), self._storage.max_inline_bytes
        if size <= limit:
            return None
        reason = f"its result of {size_text(size)} exceeds MAX_INLINE_BYTES={limit}"
        if self._storage.bucket is not None:
            problem = self._store(oversize)
            return None if problem is None else f"{reason} and {problem}"
        if age_seconds >= self._ttl_seconds:
            task, failed = oversize.task, ResultTooLargeError(f"{reason}, and S3_BUCKET is not set")
            worker_id, duration_ms = str(oversize.result.worker_id), oversize.result.duration_ms or 0
            oversize.result = result_of_error(failed, task, worker_id=worker_id, duration_ms=duration_ms)
            oversize.encoded = None
            return None
        return f"{reason}: set S3_BUCKET, or raise the limit, and restart the worker"

    def _store(self, oversize: OversizeResult) -> str | None:
        """Store the large values in a thread, since the server may not answer. Return why they are not stored yet."""
        if oversize.upload is None:
            store = partial(store_large_values, self._storage, oversize.task, oversize.result.data)
            oversize.upload = self._storage.start(store)
        if not oversize.upload.done():
            return "is being stored in S3"
        upload, oversize.upload = oversize.upload, None
        try:
            data = upload.result()
        except TaskError as error:
            return f"cannot be stored: {error}"
        oversize.result, oversize.encoded = replace(oversize.result, data=data), orjson.dumps(data)
        return None


def kept_notice(oversize: OversizeResult, reason: str) -> Progress:
    """Return the progress that shows why the task does not end."""
    task, worker_id = oversize.task, str(oversize.result.worker_id)
    message = f"finished on worker {worker_id}; {reason}"
    return Progress(task.job_id, task.task_id, task.attempt, worker_id, 1.0, message[:1000])
