"""Control messages on the wire: what orchestrators tell all workers at once."""

from __future__ import annotations

from dataclasses import dataclass

from avtomatika.core.job import group_of
from avtomatika.schemas.fields import attempt, identifier, or_null

from .body import dump, load
from .kinds import Kinds


@dataclass(frozen=True, slots=True)
class Cancel:
    """Nobody waits any more for the tasks of a *group* (a fan-out, say), or for one attempt of one of them."""

    group: str
    task_id: str | None = None
    attempt: int | None = None

    def means(self, task_id: str, attempt: int) -> bool:
        """Whether an attempt is among what nobody waits for."""
        if self.task_id is None:
            return self.group == group_of(task_id)
        return (task_id, attempt) == (self.task_id, self.attempt)


@dataclass(frozen=True, slots=True)
class Barred:
    """Nothing counts that a worker answers: it may not come in."""

    worker_id: str


Control = Cancel | Barred

_CONTROLS: Kinds[Control] = Kinds(
    "control",
    {
        "cancel": (Cancel, (identifier("group"), or_null(identifier("task_id")), or_null(attempt("attempt")))),
        "barred": (Barred, (identifier("worker_id"),)),
    },
)


def dump_control(control: Control) -> str:
    """The body of a word to all workers."""
    return dump(*_CONTROLS.values(control))


def load_control(raw: str | bytes) -> Control:
    """What all workers are told."""
    return _CONTROLS.read(load("control", raw))
