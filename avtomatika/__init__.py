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
    from avtomatika.files.handler_files import AsyncHandlerFiles as AsyncTaskFiles, HandlerFiles as TaskFiles
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

#: Module -> what it exports, loaded at first use: ``avtomatika --help`` and a worker pay only for what they need.
_EXPORTS = {
    "client": ["AsyncClient", "Client"],
    "client.tasks": ["TaskHandle"],
    "core.blueprint.actions": ["Actions"],
    "core.blueprint.blueprint": ["Blueprint"],
    "core.blueprint.conditions": ["Condition", "F"],
    "core.blueprint.job_context": ["AggregationResults", "ClientInfo", "JobContext"],
    "core.job": ["JobStatus"],
    "core.retry": ["RetryPolicy"],
    "errors": ["InvalidInputError", "PermanentError", "TaskFailedError", "TransientError"],
    "files.handler_files": ["AsyncTaskFiles", "TaskFiles"],
    "files.skill_files": ["AsyncFiles", "Files"],
    "schemas.wire.tasks": ["Task"],
    "worker.context": ["AsyncTaskContext", "ReportProgress", "TaskContext"],
    "worker.skillset": ["SkillSet"],
    "worker.worker": ["Worker"],
}
#: Exports that have another name in their module.
_NAMES = {"AsyncTaskFiles": "AsyncHandlerFiles", "Task": "TaskMessage", "TaskFiles": "HandlerFiles"}

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
    for module, exports in _EXPORTS.items():
        if name in exports:
            return getattr(import_module(f"avtomatika.{module}"), _NAMES.get(name, name))
    raise AttributeError(f"module 'avtomatika' has no attribute {name!r}")
