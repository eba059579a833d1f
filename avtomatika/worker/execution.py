"""An assignment: one attempt of a task in this worker's hands, from the link that brought it to its result."""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

from avtomatika.core.events import Result
from avtomatika.core.job import Json
from avtomatika.errors import TaskError
from avtomatika.files.skill_files import AsyncFiles, Files
from avtomatika.files.task_files import TaskFiles
from avtomatika.files.task_storage import TaskStorage
from avtomatika.files.transfer_progress import Cancellation
from avtomatika.schemas.wire import Progress, TaskMessage

from .context import TaskContext
from .middleware import around
from .result import raised, returned, stopped
from .skill import Skill
from .stop import StopReason

logger = logging.getLogger(__name__)

#: So much longer than its job waits for its result may a task run where nobody says that it is over.
_PATIENCE_SECONDS = 2.0


def _unheard(progress: Progress) -> None:
    """Where nobody wants to know."""


@dataclass(slots=True, eq=False)
class TaskExecution:
    """*origin* is what the link knows it by; *ask* tells where nobody sets ``stop``, which is why it is to end early.

    ``begun_at`` and ``stopped_at`` are of the monotonic clock. ``result`` is written once, by whoever performs it.
    """

    task: TaskMessage
    skill: Skill
    worker_id: str
    origin: Any
    storage: TaskStorage = field(default_factory=TaskStorage.without_s3)
    on_progress: Callable[[Progress], None] = _unheard
    ask: Callable[[], StopReason | None] | None = None
    limit_seconds: float | None = None
    is_alone: bool = False
    result: Result | None = None
    begun_at: float | None = None
    stop: StopReason | None = None
    stopped_at: float = 0.0

    def perform(self) -> None:
        """Call a sync skill. Nothing that it raises gets out, not even SystemExit: that is the task's affair."""
        files = TaskFiles(self.storage, self.task, Cancellation(self._is_cancelled, self._tell))
        try:
            self._begin()
            context = self._context(files.download_inputs(), Files(files))
            call = around(self._call, self.skill.middleware) if self.skill.middleware else self._call
            result = self._returned(call(context))
            self._answer(result, files.upload_outputs(result.data))
        except BaseException as problem:
            self._raised(files.fault_of(problem) or problem)
        finally:
            self._close(files)

    async def perform_async(self) -> None:
        """Await an async skill; the same holds. Files go in threads, which the loop does not wait for."""
        files = TaskFiles(self.storage, self.task, Cancellation(self._is_cancelled, self._tell))
        try:
            self._begin()
            task = await self.storage.run_in_thread(files.download_inputs) if files.has_inputs else self.task
            context = self._context(task, AsyncFiles(files))
            call = around(self._call_async, self.skill.middleware) if self.skill.middleware else self._call_async
            result = self._returned(await call(context))
            data = result.data
            if files.has_outputs(data):
                data = await self.storage.run_in_thread(lambda: files.upload_outputs(data))
            self._answer(result, data)
        except BaseException as problem:
            self._raised(files.fault_of(problem) or problem)
        finally:
            while files.has_folder:
                with suppress(CancelledError):  # heard once already: transfers see by themselves that they are unwanted
                    await self.storage.run_in_thread(lambda: self._close(files))

    def _context(self, task: TaskMessage, files: Files | AsyncFiles) -> TaskContext:
        return TaskContext(task, self.worker_id, files, self.on_progress, self._is_cancelled)

    def overdue(self, now: float) -> StopReason | None:
        """Why it ran long enough, if it did. That the job waits no more is told by orchestrators, if they can."""
        ran, result_timeout = now - (self.begun_at or now), self.task.result_timeout_seconds
        if self.limit_seconds is not None and ran > self.limit_seconds:
            return StopReason.LATE
        return StopReason.UNWANTED if result_timeout is not None and ran > result_timeout + _PATIENCE_SECONDS else None

    def fail(self, problem: BaseException) -> None:
        """End it from without: with *problem*, or, where it was told to stop, as stopped."""
        if self.stop is None:
            self._raised(problem)
        else:
            self._stopped(self.stop, f"{self._why(self.stop)}; {problem}")

    def _tell(self, share: float, words: str) -> None:
        """How far transfers are, for whoever looks at the job."""
        task = self.task
        self.on_progress(Progress(task.job_id, task.task_id, task.attempt, self.worker_id, share, words))

    def _is_cancelled(self) -> bool:
        if self.stop is None and self.ask is not None:
            self.stop = self.ask()
        return self.stop is not None

    def _begin(self) -> None:
        """What nobody waits for is not begun."""
        self.begun_at = monotonic()
        if self.stop is not None:
            raise CancelledError

    def _close(self, files: TaskFiles) -> None:
        try:
            files.close()
        except Exception:  # the result counts all the same
            logger.exception("task %s: its files could not be removed", self.task.task_id)

    def _call(self, context: TaskContext) -> Result:
        return self._returned(self.skill.function(**self.skill.arguments(context)))

    async def _call_async(self, context: TaskContext) -> Result:
        return self._returned(await self.skill.function(**self.skill.arguments(context)))

    def _returned(self, value: Any) -> Result:
        """What a skill returned as a result; one that is a result already is answered as it is."""
        if isinstance(value, Result):
            return value
        return returned(value, self.task, worker_id=self.worker_id, duration_ms=self._ms)

    def _answer(self, result: Result, data: Json) -> None:
        """What is sent: *data* has URIs where the skill named files, which took some time, too."""
        is_same = data is result.data
        self.result = result if is_same else replace(result, data=data, duration_ms=self._ms)

    def _raised(self, problem: BaseException) -> None:
        task = self.task
        if isinstance(problem, CancelledError) and self.stop is not None:
            self._stopped(self.stop, self._why(self.stop))
            return
        if not isinstance(problem, TaskError | CancelledError):
            logger.warning("task %s, attempt %d: %r", task.task_id, task.attempt, problem, exc_info=problem)
        self.result = raised(problem, task, worker_id=self.worker_id, duration_ms=self._ms)

    def _stopped(self, stop: StopReason, why: str) -> None:
        task = self.task
        logger.info("task %s, attempt %d: stopped: %s", task.task_id, task.attempt, why)
        self.result = stopped(stop, why, task, worker_id=self.worker_id, duration_ms=self._ms)

    def _why(self, stop: StopReason) -> str:
        is_known = stop is StopReason.LATE and self.limit_seconds is not None
        return f"{stop}: {self.limit_seconds:g} s" if is_known else str(stop)

    @property
    def _ms(self) -> int:
        """How long it took until now."""
        return 0 if self.begun_at is None else round((monotonic() - self.begun_at) * 1000)
