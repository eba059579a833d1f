"""An assignment: one attempt of a task in this worker's hands, from the link that brought it to its result."""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

from avtomatika.core.events import Result
from avtomatika.core.job import Json
from avtomatika.errors import TaskError
from avtomatika.files.depot import Depot
from avtomatika.files.handle import AsyncFiles, Files
from avtomatika.schemas.wire import Progress, TaskMessage

from .context import TaskContext
from .result import raised, returned, stopped
from .skill import Skill
from .stop import Stop

logger = logging.getLogger(__name__)


def _unheard(progress: Progress) -> None:
    """Where nobody wants to know."""


@dataclass(slots=True, eq=False)
class Assignment:
    """*origin* is what the link knows it by. ``stop`` is why it is to end before it is done.

    ``result`` is written once, by whoever performs it.
    """

    task: TaskMessage
    skill: Skill
    worker_id: str
    origin: Any
    depot: Depot = field(default_factory=Depot.without_s3)
    on_progress: Callable[[Progress], None] = _unheard
    result: Result | None = None
    stop: Stop | None = None

    def perform(self) -> None:
        """Call a sync skill. Nothing that it raises gets out, not even SystemExit: that is the task's affair."""
        begun = perf_counter()
        files = self.depot.begin(self.task)
        try:
            self._check()
            arguments = self.skill.arguments(self._context(files.fetch(), Files(files)))
            result = self._returned(self.skill.function(**arguments), begun)
            self._answer(result, files.deliver(result.data), begun)
        except BaseException as problem:
            self._raised(problem, begun)
        finally:
            files.close()

    async def perform_async(self) -> None:
        """Await an async skill; the same holds. Files go in threads, which the loop does not wait for."""
        begun = perf_counter()
        files = self.depot.begin(self.task)
        try:
            self._check()
            task = await self.depot.in_thread(files.fetch) if files.has_inputs else self.task
            arguments = self.skill.arguments(self._context(task, AsyncFiles(files)))
            result = self._returned(await self.skill.function(**arguments), begun)
            data = result.data
            if files.has_outputs(data):
                data = await self.depot.in_thread(lambda: files.deliver(data))
            self._answer(result, data, begun)
        except BaseException as problem:
            self._raised(problem, begun)
        finally:
            if files.has_folder:
                await self.depot.in_thread(files.close)

    def _context(self, task: TaskMessage, files: Files | AsyncFiles) -> TaskContext:
        return TaskContext(task, self.worker_id, files, self.on_progress, self._is_cancelled)

    def _is_cancelled(self) -> bool:
        return self.stop is not None

    def _check(self) -> None:
        """What nobody waits for is not begun."""
        if self.stop is not None:
            raise CancelledError

    def _returned(self, value: Any, begun: float) -> Result:
        return returned(value, self.task, worker_id=self.worker_id, duration_ms=_ms_since(begun))

    def _answer(self, result: Result, data: Json, begun: float) -> None:
        """What is sent: *data* has URIs where the skill named files, which took some time, too."""
        is_same = data is result.data
        self.result = result if is_same else replace(result, data=data, duration_ms=_ms_since(begun))

    def _raised(self, problem: BaseException, begun: float) -> None:
        task = self.task
        if isinstance(problem, CancelledError) and self.stop is not None:
            logger.info("task %s, attempt %d: stopped: %s", task.task_id, task.attempt, self.stop)
            self.result = stopped(self.stop, task, worker_id=self.worker_id, duration_ms=_ms_since(begun))
            return
        if not isinstance(problem, TaskError | CancelledError):
            logger.warning("task %s, attempt %d: %r", task.task_id, task.attempt, problem, exc_info=problem)
        self.result = raised(problem, task, worker_id=self.worker_id, duration_ms=_ms_since(begun))


def _ms_since(begun: float) -> int:
    return round((perf_counter() - begun) * 1000)
