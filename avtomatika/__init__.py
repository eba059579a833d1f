"""avtomatika: workflows as state machines that compile into queue routing rules."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avtomatika.client import AsyncClient, Client
    from avtomatika.core.blueprint.blueprint import Blueprint
    from avtomatika.core.blueprint.conditions import F
    from avtomatika.core.retry import RetryPolicy
    from avtomatika.worker.context import TaskContext
    from avtomatika.worker.skillset import SkillSet
    from avtomatika.worker.worker import Worker

    from .errors import InvalidInputError, PermanentError, TransientError

__version__ = "0.1.0"

# The wheel carries ``cli`` and ``web`` inside this package; a checkout keeps them beside it.
_here = Path(__file__).resolve().parent
if not (_here / "web").is_dir():
    __path__.append(str(_here.parent))

#: Loaded at first use, so that ``avtomatika --help`` and a worker pay only for what they need.
_EXPORTS = {
    "AsyncClient": "avtomatika.client",
    "Blueprint": "avtomatika.core.blueprint.blueprint",
    "Client": "avtomatika.client",
    "F": "avtomatika.core.blueprint.conditions",
    "InvalidInputError": "avtomatika.errors",
    "PermanentError": "avtomatika.errors",
    "RetryPolicy": "avtomatika.core.retry",
    "SkillSet": "avtomatika.worker.skillset",
    "TaskContext": "avtomatika.worker.context",
    "TransientError": "avtomatika.errors",
    "Worker": "avtomatika.worker.worker",
}

__all__ = [
    "AsyncClient",
    "Blueprint",
    "Client",
    "F",
    "InvalidInputError",
    "PermanentError",
    "RetryPolicy",
    "SkillSet",
    "TaskContext",
    "TransientError",
    "Worker",
    "__version__",
]


def __getattr__(name: str) -> object:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'avtomatika' has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)
