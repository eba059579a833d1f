"""The context of one attempt: what its skill can ask for by name, gathered in one thing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from avtomatika.core.job import Json
from avtomatika.files.skill_files import AsyncFiles, Files
from avtomatika.schemas import wire

from .progress import checked


@dataclass(slots=True)
class TaskContext:
    """*task* has paths where its params named files; *files* is for sync or async use, as the skill is.

    ``cancelled()`` tells whether nobody waits for the task any more, or its time is over: then let it end soon.
    """

    task: wire.TaskMessage
    worker_id: str
    files: Files | AsyncFiles
    on_progress: Callable[[wire.Progress], None]
    cancelled: Callable[[], bool]

    @property
    def params(self) -> Mapping[str, Json]:
        return self.task.params

    @property
    def task_id(self) -> str:
        return self.task.task_id

    @property
    def job_id(self) -> str:
        return self.task.job_id

    @property
    def attempt(self) -> int:
        """Which try this is, from 1."""
        return self.task.attempt

    @property
    def skill(self) -> str:
        return self.task.task_type

    def progress(self, progress: float, message: str = "") -> None:
        """Tell how far the task is: *progress* from 0 to 1. It costs little; once a second the last word is sent."""
        share, text = checked(progress, message)
        task = self.task
        self.on_progress(wire.Progress(task.job_id, task.task_id, task.attempt, self.worker_id, share, text))


#: What a skill can ask for by the name of a parameter.
INJECTED: Mapping[str, Callable[[TaskContext], Any]] = {
    "params": lambda context: context.task.params,
    "task_id": lambda context: context.task.task_id,
    "job_id": lambda context: context.task.job_id,
    "attempt": lambda context: context.task.attempt,
    "files": lambda context: context.files,
    "progress": lambda context: context.progress,
    "cancelled": lambda context: context.cancelled,
    "context": lambda context: context,
}
