"""avtomatika: workflows as state machines that compile into queue routing rules."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avtomatika.client import AsyncClient, Client
    from avtomatika.client.tasks import TaskHandle
    from avtomatika.core.blueprint.actions import Actions
    from avtomatika.core.blueprint.blueprint import Blueprint
    from avtomatika.core.blueprint.conditions import Condition, F
    from avtomatika.core.blueprint.job_context import AggregationResults, ClientInfo, JobContext
    from avtomatika.core.job import JobStatus
    from avtomatika.core.retry import RetryPolicy
    from avtomatika.files.handler_files import AsyncHandlerFiles as AsyncTaskFiles
    from avtomatika.files.handler_files import HandlerFiles as TaskFiles
    from avtomatika.files.skill_files import AsyncFiles, Files
    from avtomatika.schemas.wire.tasks import TaskMessage as Task
    from avtomatika.worker.context import AsyncTaskContext, ReportProgress, TaskContext
    from avtomatika.worker.skillset import SkillSet
    from avtomatika.worker.worker import Worker

    from .errors import InvalidInputError, PermanentError, TaskFailedError, TransientError

__version__ = "0.1.0"

# The wheel carries ``cli`` and ``web`` inside this package; in a checkout they are at the top level.
_here = Path(__file__).resolve().parent
if not (_here / "web").is_dir():
    __path__.append(str(_here.parent))

#: Loaded at first use, so that ``avtomatika --help`` and a worker pay only for what they need.
_EXPORTS = {
    "AsyncClient": "avtomatika.client",
    "Actions": "avtomatika.core.blueprint.actions",
    "AggregationResults": "avtomatika.core.blueprint.job_context",
    "AsyncFiles": "avtomatika.files.skill_files",
    "AsyncTaskContext": "avtomatika.worker.context",
    "AsyncTaskFiles": "avtomatika.files.handler_files:AsyncHandlerFiles",
    "Blueprint": "avtomatika.core.blueprint.blueprint",
    "Client": "avtomatika.client",
    "ClientInfo": "avtomatika.core.blueprint.job_context",
    "Condition": "avtomatika.core.blueprint.conditions",
    "F": "avtomatika.core.blueprint.conditions",
    "Files": "avtomatika.files.skill_files",
    "InvalidInputError": "avtomatika.errors",
    "JobContext": "avtomatika.core.blueprint.job_context",
    "JobStatus": "avtomatika.core.job",
    "PermanentError": "avtomatika.errors",
    "ReportProgress": "avtomatika.worker.context",
    "RetryPolicy": "avtomatika.core.retry",
    "SkillSet": "avtomatika.worker.skillset",
    "Task": "avtomatika.schemas.wire.tasks:TaskMessage",
    "TaskContext": "avtomatika.worker.context",
    "TaskFailedError": "avtomatika.errors",
    "TaskFiles": "avtomatika.files.handler_files:HandlerFiles",
    "TaskHandle": "avtomatika.client.tasks",
    "TransientError": "avtomatika.errors",
    "Worker": "avtomatika.worker.worker",
}

__all__ = [
    "Actions",
    "AggregationResults",
    "AsyncClient",
    "AsyncFiles",
    "AsyncTaskContext",
    "AsyncTaskFiles",
    "Blueprint",
    "Client",
    "ClientInfo",
    "Condition",
    "F",
    "Files",
    "InvalidInputError",
    "JobContext",
    "JobStatus",
    "PermanentError",
    "ReportProgress",
    "RetryPolicy",
    "SkillSet",
    "Task",
    "TaskContext",
    "TaskFailedError",
    "TaskFiles",
    "TaskHandle",
    "TransientError",
    "Worker",
    "__version__",
]


def __getattr__(name: str) -> object:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'avtomatika' has no attribute {name!r}")
    module, _, attribute = _EXPORTS[name].partition(":")
    return getattr(import_module(module), attribute or name)
