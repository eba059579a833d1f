"""What all tasks of a worker share: the payload folder, the S3 client and the threads for transfers."""

from __future__ import annotations

import asyncio
import threading
from asyncio import CancelledError
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

from avtomatika.errors import InvalidInputError, WorkerFaultError
from avtomatika.schemas.wire import TaskMessage

from .config import S3Config
from .location import Location
from .payload import PayloadFolder
from .safe_names import safe_part
from .transfer_progress import LOOK_EVERY_SECONDS, Cancellation

if TYPE_CHECKING:
    from .cache import Cache
    from .s3_transfer import S3Transfer

T = TypeVar("T")
Item = TypeVar("Item")

#: Objects on their way at a time, of all tasks together.
_OBJECTS_AT_A_TIME = 10
#: Async skills whose files are on their way at a time; sync ones wait in their own threads.
_TASKS_AT_A_TIME = 16
#: What a task may fetch, and what it may send, where nobody says otherwise.
MAX_TASK_BYTES = 100 * 1024**3


class TaskStorage:
    """*config* is None where S3 is off: then files stay where they are, and ``s3://`` in params is refused.

    With a *cache* what several tasks ask for is fetched once.
    """

    def __init__(
        self,
        payload: PayloadFolder,
        *,
        config: S3Config | None,
        max_task_bytes: int = MAX_TASK_BYTES,
        cache: Cache | None = None,
    ) -> None:
        self.payload = payload
        self.config = config
        self.cache = cache
        self.max_task_bytes = max_task_bytes
        self.keeps_uris = False
        self._s3: S3Transfer | None = None
        self._lock = threading.Lock()
        self._objects = ThreadPoolExecutor(_OBJECTS_AT_A_TIME, thread_name_prefix="files")
        self._tasks = ThreadPoolExecutor(_TASKS_AT_A_TIME, thread_name_prefix="files-of-async")

    @classmethod
    def without_s3(cls) -> TaskStorage:
        """For whoever is told nothing of S3, as tests are: URIs stay URIs, and skills have a temporary folder."""
        storage = cls(PayloadFolder(), config=None)
        storage.keeps_uris = True
        return storage

    def for_child(self, payload_dir: str) -> TaskStorage:
        """The same for a process that was forked: with a client and threads of its own, and the files in our folder."""
        payload = PayloadFolder(payload_dir)
        storage = TaskStorage(payload, config=self.config, max_task_bytes=self.max_task_bytes, cache=self.cache)
        storage.keeps_uris = self.keeps_uris
        return storage

    def remove_leftovers(self, task: TaskMessage) -> None:
        """Remove what a process that was killed left of an attempt."""
        self.payload.remove_leftovers(f"{safe_part(task.task_id)}.{task.attempt}-")

    @property
    def bucket(self) -> str | None:
        """Where results go."""
        return self.config.bucket if self.config is not None else None

    def s3(self) -> S3Transfer:
        """The client, made when it is first needed; WorkerFaultError naming what is not set where S3 is off."""
        if self.config is None:
            raise WorkerFaultError(
                "this worker has no S3: S3_BUCKET is not set, and neither are S3_ENDPOINT_URL, S3_ACCESS_KEY "
                "and S3_SECRET_KEY"
            )
        with self._lock:
            if self._s3 is None:
                from .s3_transfer import S3Transfer  # boto3 takes longer to load than a worker without files may

                self._s3 = S3Transfer(self.config)
            return self._s3

    def probe(self, probe: Mapping[str, str]) -> None:
        """Try again what a WorkerFaultError with this *probe* was about. Raises TaskError while it cannot be done."""
        location = Location.parse(probe.get("uri", ""))
        if location is None:
            self.payload.check_writable(int(probe.get("bytes", 0)))
            return
        try:
            self.s3().probe(location, probe["check"])
        except InvalidInputError:  # there is no such object: the server answers, and accepts the keys
            return
        except WorkerFaultError as fault:
            if fault.probe is not None:
                raise

    def map(
        self, function: Callable[[Item], T], items: Iterable[Item], *, cancellation: Cancellation | None = None
    ) -> list[T]:
        """*function* of each, several at a time. Where one fails the rest is left, and nothing goes on behind us.

        With a *cancellation* raise CancelledError soon after the task is cancelled; transfers under way end
        by themselves, so they must do no harm.
        """
        futures = [self._objects.submit(function, item) for item in items]
        pending: Iterable[Future[T]] = futures
        while pending:
            done, pending = wait(futures, LOOK_EVERY_SECONDS if cancellation else None, return_when=FIRST_EXCEPTION)
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

    async def run_in_thread(self, function: Callable[[], T]) -> T:
        """*function* where it blocks no event loop. One that has begun ends, even if whoever waits is cancelled."""
        future = self._tasks.submit(function)
        try:
            return await asyncio.shield(asyncio.wrap_future(future))
        except CancelledError:
            if not future.cancel():
                await asyncio.to_thread(wait, [future])
            raise

    def close(self) -> None:
        """Give up what is on its way, and remove what it leaves."""
        self._tasks.shutdown(wait=False, cancel_futures=True)
        self._objects.shutdown(wait=False, cancel_futures=True)
        if self._s3 is not None:
            self._s3.close()
        self.payload.close()
