"""An assignment: one attempt of a task in this worker's hands, from the link that brought it to its result."""

from __future__ import annotations

import logging
from asyncio import CancelledError
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from avtomatika.core.events import Result
from avtomatika.errors import TaskError
from avtomatika.schemas.wire import TaskMessage

from .result import raised, returned
from .skill import Skill

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Assignment:
    """*origin* is what the link knows it by. ``result`` is written once, by whoever performs it."""

    task: TaskMessage
    skill: Skill
    worker_id: str
    origin: Any
    result: Result | None = None

    def perform(self) -> None:
        """Call a sync skill. Nothing that it raises gets out, not even SystemExit: that is the task's affair."""
        begun = perf_counter()
        try:
            value = self.skill.function(**self.skill.arguments(self.task))
        except BaseException as problem:
            self._raised(problem, begun)
        else:
            self._returned(value, begun)

    async def perform_async(self) -> None:
        """Await an async skill; the same holds."""
        begun = perf_counter()
        try:
            value = await self.skill.function(**self.skill.arguments(self.task))
        except BaseException as problem:
            self._raised(problem, begun)
        else:
            self._returned(value, begun)

    def _returned(self, value: Any, begun: float) -> None:
        self.result = returned(value, self.task, worker_id=self.worker_id, duration_ms=_ms_since(begun))

    def _raised(self, problem: BaseException, begun: float) -> None:
        if not isinstance(problem, TaskError | CancelledError):
            task = self.task
            logger.warning("task %s, attempt %d: %r", task.task_id, task.attempt, problem, exc_info=problem)
        self.result = raised(problem, self.task, worker_id=self.worker_id, duration_ms=_ms_since(begun))


def _ms_since(begun: float) -> int:
    return round((perf_counter() - begun) * 1000)
