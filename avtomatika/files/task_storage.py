"""The payload folder, the S3 client and the threads for transfers that all tasks of a worker share."""

from __future__ import annotations

import asyncio
import threading
from asyncio import CancelledError
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

from avtomatika.core.file_reference import MAX_INLINE_BYTES
from avtomatika.errors import InvalidInputError, WorkerFaultError, WorkerSettingsError
from avtomatika.schemas.wire import TaskMessage

from .config import S3Config
from .location import Location
from .payload import PayloadFolder
from .safe_names import safe_part
from .transfer_progress import POLL_SECONDS, Cancellation

if TYPE_CHECKING:
    from .cache import Cache
    from .s3_transfer import S3Transfer

T = TypeVar("T")
Item = TypeVar("Item")

#: Concurrent transfers of objects, over all tasks.
_OBJECTS_AT_A_TIME = 10
#: Async skills whose files are transferred concurrently; sync skills use their own threads.
_TASKS_AT_A_TIME = 16
#: Default limit of the bytes that a task downloads, and that it uploads.
MAX_TASK_BYTES = 100 * 1024**3


class TaskStorage:
    """Shared by all tasks of a worker; thread-safe.

    Without *config* S3 is off: files are not uploaded then, and ``s3://`` in params is refused. With a *cache* an
    object that several tasks need is downloaded once. Results above *max_inline_bytes* of JSON are stored in S3.
    """

    def __init__(
        self,
        payload: PayloadFolder,
        *,
        config: S3Config | None,
        max_task_bytes: int = MAX_TASK_BYTES,
        max_inline_bytes: int = MAX_INLINE_BYTES,
        cache: Cache | None = None,
    ) -> None:
        self.payload = payload
        self.config = config
        self.cache = cache
        self.max_task_bytes = max_task_bytes
        self.max_inline_bytes = max_inline_bytes
        self.keeps_uris = False
        self._s3: S3Transfer | None = None
        self._lock = threading.Lock()
        self._objects = ThreadPoolExecutor(_OBJECTS_AT_A_TIME, thread_name_prefix="files")
        self._tasks = ThreadPoolExecutor(_TASKS_AT_A_TIME, thread_name_prefix="files-of-async")

    @classmethod
    def without_s3(cls) -> TaskStorage:
        """Return a storage for tests: URIs in params are passed on unchanged, and skills have a temporary folder."""
        storage = cls(PayloadFolder(), config=None)
        storage.keeps_uris = True
        return storage

    def for_child(self, payload_dir: str) -> TaskStorage:
        """Return a storage with the same settings for a forked process: a new client and threads, the same folder."""
        payload = PayloadFolder(payload_dir)
        storage = TaskStorage(
            payload,
            config=self.config,
            max_task_bytes=self.max_task_bytes,
            max_inline_bytes=self.max_inline_bytes,
            cache=self.cache,
        )
        storage.keeps_uris = self.keeps_uris
        return storage

    def remove_leftovers(self, task: TaskMessage) -> None:
        """Remove the files that a killed process left of an attempt."""
        self.payload.remove_leftovers(f"{safe_part(task.task_id)}.{task.attempt}-")

    @property
    def bucket(self) -> str | None:
        """The bucket of results."""
        return self.config.bucket if self.config is not None else None

    def s3(self) -> S3Transfer:
        """Return the client, created on first use. Raise WorkerSettingsError if S3 is off."""
        if self.config is None:
            raise WorkerSettingsError(
                "this worker has no S3: S3_BUCKET is not set, and neither are S3_ENDPOINT_URL, S3_ACCESS_KEY "
                "and S3_SECRET_KEY"
            )
        with self._lock:
            if self._s3 is None:
                from .s3_transfer import S3Transfer  # boto3 loads too slowly for workers that use no files

                self._s3 = S3Transfer(self.config)
            return self._s3

    def probe(self, probe: Mapping[str, str]) -> None:
        """Repeat what caused the WorkerFaultError with this *probe*. Raise TaskError while it still fails."""
        location = Location.parse(probe.get("uri", ""))
        if location is None:
            self.payload.check_writable(int(probe.get("bytes", 0)))
            return
        try:
            self.s3().probe(location, probe["check"])
        except InvalidInputError:  # the object is missing, but the server responds and accepts the keys
            return
        except WorkerFaultError as fault:
            if fault.probe is not None:
                raise

    def map(
        self, function: Callable[[Item], T], items: Iterable[Item], *, cancellation: Cancellation | None = None
    ) -> list[T]:
        """Apply *function* to each item, several at a time; raise the first error and start no further items.

        Return after all started calls have ended. With a *cancellation* raise CancelledError soon after the task is
        cancelled; started calls then end on their own, so they must do no harm.
        """
        futures = [self._objects.submit(function, item) for item in items]
        pending: Iterable[Future[T]] = futures
        while pending:
            done, pending = wait(futures, POLL_SECONDS if cancellation else None, return_when=FIRST_EXCEPTION)
            is_cancelled = cancellation is not None and cancellation.is_cancelled()
            if is_cancelled or any(future.cancelled() or future.exception() is not None for future in done):
                for future in pending:
                    future.cancel()
                if is_cancelled:
                    raise CancelledError
                break
        wait(futures)
        for future in futures:
            if not future.cancelled() and (problem := future.exception()) is not None:
                raise problem
        return [future.result() for future in futures]

    def start(self, function: Callable[[], T]) -> Future[T]:
        """Call *function* in a thread, and do not wait for it."""
        return self._tasks.submit(function)

    async def run_in_thread(self, function: Callable[[], T]) -> T:
        """Call *function* in a thread. If the caller is cancelled, still wait until a started call has ended."""
        future = self.start(function)
        try:
            return await asyncio.shield(asyncio.wrap_future(future))
        except CancelledError:
            if not future.cancel():
                await asyncio.to_thread(wait, [future])
            raise

    def close(self) -> None:
        """Abort transfers and remove their files."""
        self._tasks.shutdown(wait=False, cancel_futures=True)
        self._objects.shutdown(wait=False, cancel_futures=True)
        if self._s3 is not None:
            self._s3.close()
        self.payload.close()
