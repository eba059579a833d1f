"""Results that are too large for a message: they are stored in S3, or kept in the spool until they can be sent.

A kept result is never sent as it is, and its task is not run again meanwhile.
"""

from dataclasses import replace
from functools import partial

import orjson

from avtomatika.errors import TaskError
from avtomatika.files.task_files import store_large_values
from avtomatika.files.task_storage import TaskStorage
from avtomatika.files.transfer_progress import size_text
from avtomatika.schemas.wire import Progress
from avtomatika.worker.result import ResultTooLargeError, result_of_error

from .pending import PendingResult


class OversizeResults:
    """Makes results small enough, with *storage*. After *ttl_seconds* in the spool a result becomes a failure."""

    def __init__(self, storage: TaskStorage, *, ttl_seconds: float) -> None:
        self._storage = storage
        self._ttl_seconds = ttl_seconds

    def fits(self, pending: PendingResult) -> bool:
        """Return whether the result is small enough for a message."""
        return len(pending.encoded or b"") <= self._storage.max_inline_bytes

    def reason_to_keep(self, pending: PendingResult, *, age_seconds: float) -> str | None:
        """Return why the result cannot be sent yet; None if it is small enough."""
        if self.fits(pending):
            return None
        size, limit = len(pending.encoded or b""), self._storage.max_inline_bytes
        reason = f"its result of {size_text(size)} exceeds MAX_INLINE_BYTES={limit}"
        if self._storage.bucket is not None:
            problem = self._store(pending)
            return None if problem is None else f"{reason} and {problem}"
        if age_seconds >= self._ttl_seconds:
            failed = ResultTooLargeError(f"{reason}, and S3_BUCKET is not set")
            worker_id, duration_ms = str(pending.result.worker_id), pending.result.duration_ms or 0
            pending.result = result_of_error(failed, pending.task, worker_id=worker_id, duration_ms=duration_ms)
            pending.encoded = None
            return None
        return f"{reason}: set S3_BUCKET, or raise the limit, and restart the worker"

    def _store(self, pending: PendingResult) -> str | None:
        """Store the large values in a thread, since the server may not answer. Return why they are not stored yet."""
        if pending.upload is None:
            store = partial(store_large_values, self._storage, pending.task, pending.result.data)
            pending.upload = self._storage.start(store)
        if not pending.upload.done():
            return "is being stored in S3"
        upload, pending.upload = pending.upload, None
        try:
            data = upload.result()
        except TaskError as error:
            return f"cannot be stored: {error}"
        pending.result, pending.encoded = replace(pending.result, data=data), orjson.dumps(data)
        return None


def kept_notice(pending: PendingResult, reason: str) -> Progress:
    """Return the progress that shows why the task does not end."""
    task, worker_id = pending.task, str(pending.result.worker_id)
    message = f"finished on worker {worker_id}; {reason}"
    return Progress(task.job_id, task.task_id, task.attempt, worker_id, 1.0, message[:1000])
