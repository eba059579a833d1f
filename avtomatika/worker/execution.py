"""Task execution: one attempt of a task in this worker, from its delivery to its result."""

import logging
from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from time import monotonic
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any

import orjson

from avtomatika import metrics
from avtomatika.core.events import Result
from avtomatika.core.job import Json
from avtomatika.errors import PermanentError, TaskError
from avtomatika.files.skill_files import AsyncFiles, Files
from avtomatika.files.task_files import TaskFiles, store_large_values
from avtomatika.files.task_storage import TaskStorage
from avtomatika.files.transfer_progress import Cancellation
from avtomatika.schemas.wire import Chunk, Progress, TaskMessage

from .context import AsyncTaskContext, TaskContext
from .result import StopReason, result_of_error, result_of_stop, result_of_value
from .skill import Skill, wrap
from .task_records import recorded
from .task_stream import TaskStream, current_sender

if TYPE_CHECKING:
    from .batch import Batch

logger = logging.getLogger(__name__)

#: Extra time past the job's result timeout, for when no orchestrator can cancel the task.
_GRACE_SECONDS = 2.0


@dataclass(slots=True, eq=False)
class TaskExecution:
    """One attempt of a task. *origin* is the link's handle for it, *batch* is the one that it runs in.

    *poll_stop* checks for a stop request in a child process, where no thread sets ``stop_reason``. ``started_at`` and
    ``stop_requested_at`` are monotonic times. ``result`` is set by the executor, with its data ``encoded`` as JSON.
    """

    task: TaskMessage
    skill: Skill
    worker_id: str
    origin: Any
    storage: TaskStorage = field(default_factory=TaskStorage.without_s3)
    on_progress: Callable[[Progress], None] = lambda progress: None
    on_chunk: "Callable[[TaskExecution, Chunk], None]" = lambda execution, chunk: None
    poll_stop: Callable[[], StopReason | None] | None = None
    limit_seconds: float | None = None
    is_isolated: bool = False
    batch: "Batch | None" = None
    result: Result | None = None
    encoded: bytes | None = None
    started_at: float | None = None
    stop_reason: StopReason | None = None
    stop_requested_at: float = 0.0
    #: The direction and the size of each transferred file.
    transferred: Sequence[tuple[str, int]] = ()

    def run(self) -> None:
        """Run a sync skill. No exception leaves it, not even SystemExit, since a skill must not stop the worker."""
        with recorded(self), suppress(StopIteration):
            self._run(TaskContext, Files, self._call_skill, _call).send(None)  # nothing in it suspends

    async def run_async(self) -> None:
        """Run an async skill, or the part of a batch; no exception leaves it. Files are transferred in threads, which
        do not block the event loop."""
        kinds: Any = (AsyncTaskContext, AsyncFiles) if self.skill.is_async else (TaskContext, Files)
        try:
            with recorded(self):
                await self._run(kinds[0], kinds[1], self._call_skill_async, self.storage.run_in_thread)
        finally:
            if self.batch is not None:
                self.batch.leave(self)

    @property
    def executions(self) -> "Sequence[TaskExecution]":
        """This one; a batch has several."""
        return (self,)

    async def _run(
        self,
        context_type: Callable[..., Any],
        files_type: Callable[[TaskFiles], Any],
        call_skill: Callable[[Any], Any],
        transfer: Callable[[Callable[[], Any]], Awaitable[Any]],
    ) -> None:
        files = TaskFiles(self.storage, self.task, Cancellation(self._is_cancelled, self._report))
        self.transferred = files.cancellation.transferred
        try:
            self._start()
            task = await transfer(files.download_inputs) if files.has_inputs else self.task
            arguments = self.worker_id, self._report, self._is_cancelled, self._open_stream, files_type(files)
            context = context_type(task, *arguments)
            outer = current_sender.set(self._send_chunk)  # of this thread or coroutine, and coroutines that it starts
            try:
                called = wrap(call_skill, () if self.batch else self.skill.middleware)(context)
                result = self._returned(await called if self.skill.is_async or self.batch else called)
            finally:
                current_sender.reset(outer)
            data = result.data
            if files.has_outputs(data):
                data = await transfer(lambda: files.upload_outputs(data))
            self._finish(result, data)
            if self.is_oversize and self.storage.bucket is not None:
                await transfer(self._store_large_values)
        except BaseException as problem:
            self._fail(files.fault_of(problem) or problem)
        finally:
            while files.has_folder:
                with suppress(CancelledError):  # the first cancellation was handled; transfers check for themselves
                    await transfer(lambda: self._close(files))

    @property
    def is_oversize(self) -> bool:
        """Return whether the data of the result are too large for a message."""
        return self.encoded is not None and len(self.encoded) > self.storage.max_inline_bytes

    def overdue(self, now: float) -> StopReason | None:
        """Return why its time is over, or None. The timeout of the job is a fallback for when no orchestrator can
        cancel it."""
        ran, result_timeout = now - (self.started_at or now), self.task.result_timeout_seconds
        if self.limit_seconds is not None and ran > self.limit_seconds:
            return StopReason.TIMED_OUT
        return StopReason.CANCELLED if result_timeout is not None and ran > result_timeout + _GRACE_SECONDS else None

    def count(self) -> None:
        """Add it to the metrics of the worker."""
        if self.result is not None:
            metrics.series(metrics.WORKER_TASKS, self.skill.name, self.result.status).inc()
        for direction, size in self.transferred:
            metrics.FILES.labels(direction).inc()
            metrics.FILE_BYTES.labels(direction).inc(size)

    def fail(self, problem: BaseException) -> None:
        """Finish it from outside: with *problem*, or as stopped if a stop was requested."""
        if self.stop_reason is None:
            self._fail(problem)
        else:
            self._stopped(self.stop_reason, f"{self._describe_stop(self.stop_reason)}; {problem}")
        with recorded(self):  # its process could not export the span
            pass

    def _report(self, share: float, words: str) -> None:
        """Report the progress of the skill, or of file transfers."""
        task = self.task
        self.on_progress(Progress(task.job_id, task.task_id, task.attempt, self.worker_id, share, words))

    def _open_stream(self) -> TaskStream:
        return TaskStream(self._send_chunk)

    def _send_chunk(self, chunk: Chunk) -> None:
        if self.result is None:  # a thread of the skill may still run
            self.on_chunk(self, chunk)

    def _is_cancelled(self) -> bool:
        if self.stop_reason is None and self.poll_stop is not None:
            self.stop_reason = self.poll_stop()
        return self.stop_reason is not None

    def _start(self) -> None:
        """Record the start. Raises CancelledError if a stop was already requested."""
        self.started_at = monotonic()
        if self.stop_reason is not None:
            raise CancelledError

    def _close(self, files: TaskFiles) -> None:
        try:
            files.close()
        except Exception:  # the result is still valid
            logger.exception("task %s: cannot remove its files", self.task.task_id)

    def _call_skill(self, context: TaskContext) -> Result:
        value = self.skill.function(**self.skill.arguments(context))
        return self._returned(self._consume(value) if isinstance(value, GeneratorType) else value)

    def _consume(self, chunks: Generator[object, None, Any]) -> Any:
        """Send what a generator yields; return its return value. It ends early if a stop is requested."""
        stream = self._open_stream()
        while not self._is_cancelled():
            try:
                stream.write(next(chunks))
            except StopIteration as end:
                return end.value
        chunks.close()
        raise CancelledError

    async def _call_skill_async(self, context: AsyncTaskContext) -> Result:
        if self.batch is not None:
            value = await self.batch.outcome(self, context)
            if self._is_cancelled() and self.stop_reason is StopReason.CANCELLED:
                raise CancelledError
            return self._returned(value)
        value = self.skill.function(**self.skill.arguments(context))
        if not isinstance(value, AsyncGeneratorType):
            return self._returned(await value)
        stream = self._open_stream()
        async with aclosing(value):
            async for chunk in value:
                stream.write(chunk)
        return self._returned(None)

    def _returned(self, value: Any) -> Result:
        """Convert a skill's return value to a result. A Result, as middleware may return, is kept."""
        if isinstance(value, Result):
            return value
        return result_of_value(value, self.task, worker_id=self.worker_id, duration_ms=self._ms)

    def _finish(self, result: Result, data: Json) -> None:
        """Set the result. Where files were uploaded, *data* has URIs in their place and the duration includes the
        upload."""
        try:
            self.encoded = orjson.dumps(data)
        except TypeError as error:  # middleware may return any value
            raise PermanentError(f"the result cannot be represented as JSON: {error}") from None
        is_same = data is result.data
        self.result = result if is_same else replace(result, data=data, duration_ms=self._ms)

    def _store_large_values(self) -> None:
        """Replace large values of the result by references. If S3 fails, the outbox keeps it and tries again."""
        if self.result is None:
            return
        try:
            self._finish(self.result, store_large_values(self.storage, self.task, self.result.data))
        except TaskError as error:
            logger.warning(
                "task %s: its large result is kept, because it cannot be stored: %s", self.task.task_id, error
            )

    def _fail(self, problem: BaseException) -> None:
        task = self.task
        if isinstance(problem, CancelledError) and self.stop_reason is not None:
            self._stopped(self.stop_reason, self._describe_stop(self.stop_reason))
            return
        if not isinstance(problem, TaskError | CancelledError):
            logger.warning("task %s, attempt %d: %r", task.task_id, task.attempt, problem, exc_info=problem)
        self.encoded, self.result = None, result_of_error(problem, task, worker_id=self.worker_id, duration_ms=self._ms)

    def _stopped(self, stop_reason: StopReason, message: str) -> None:
        task = self.task
        logger.info("task %s, attempt %d: stopped: %s", task.task_id, task.attempt, message)
        self.encoded = None
        self.result = result_of_stop(stop_reason, message, task, worker_id=self.worker_id, duration_ms=self._ms)

    def _describe_stop(self, stop_reason: StopReason) -> str:
        is_known = stop_reason is StopReason.TIMED_OUT and self.limit_seconds is not None
        return f"{stop_reason}: {self.limit_seconds:g} s" if is_known else str(stop_reason)

    @property
    def _ms(self) -> int:
        """Milliseconds since the start."""
        return 0 if self.started_at is None else round((monotonic() - self.started_at) * 1000)


async def _call(function: Callable[[], Any]) -> Any:
    return function()
