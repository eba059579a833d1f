"""Task context: everything that a skill can request for one attempt of a task."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Protocol

from avtomatika.core.job import Json
from avtomatika.files.skill_files import AsyncFiles, Files
from avtomatika.schemas import wire

from .progress import validated
from .task_stream import TaskStream


class ReportProgress(Protocol):
    """Type of the argument ``progress``; see :meth:`TaskContext.progress`."""

    def __call__(self, progress: float, message: str = "") -> None: ...


@dataclass(slots=True)
class BaseTaskContext:
    """The common part of the contexts of sync and async skills.

    ``cancelled()`` returns True when the task was cancelled or its time limit is over: the skill should then return
    soon.
    """

    task: wire.TaskMessage
    worker_id: str
    report: Callable[[float, str], None] = field(repr=False)
    cancelled: Callable[[], bool] = field(repr=False)
    open_stream: Callable[[], TaskStream] = field(repr=False)

    @property
    def params(self) -> Mapping[str, Json]:
        """The parameters, with local paths in place of the URIs of input files."""
        return self.task.params

    @property
    def task_id(self) -> str:
        return self.task.task_id

    @property
    def job_id(self) -> str:
        return self.task.job_id

    @property
    def attempt(self) -> int:
        """Number of this attempt, from 1."""
        return self.task.attempt

    @property
    def skill(self) -> str:
        """Name of the skill, which is the task type."""
        return self.task.task_type

    def progress(self, progress: float, message: str = "") -> None:
        """Report progress from 0 to 1. Calls are cheap; the latest report is sent once a second."""
        self.report(*validated(progress, message))

    @property
    def stream(self) -> TaskStream:
        """The stream of this attempt: text, bytes, JSON values and log lines that clients read while it runs."""
        return self.open_stream()


@dataclass(slots=True)
class TaskContext(BaseTaskContext):
    """One attempt of a task, as a sync skill and its middleware see it."""

    files: Files


@dataclass(slots=True)
class AsyncTaskContext(BaseTaskContext):
    """One attempt of a task, as an async skill and its middleware see it."""

    files: AsyncFiles


#: Parameter names that a skill with batches can declare.
OF_BATCHES = ("params", "contexts")
_ATTRIBUTES = ("params", "task_id", "job_id", "attempt", "files", "progress", "stream", "cancelled")
#: Parameter names that a skill can declare.
INJECTABLE: Mapping[str, Callable[[TaskContext | AsyncTaskContext], Any]] = {
    **{name: attrgetter(name) for name in _ATTRIBUTES},
    "context": lambda context: context,
}
