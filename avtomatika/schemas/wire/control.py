"""Control messages on the wire: what orchestrators tell all workers at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from avtomatika.core.job import group_of
from avtomatika.schemas.fields import Field, attempt, identifier, or_null

from .body import bad, dump, load, read


@dataclass(frozen=True, slots=True)
class Cancel:
    """Nobody waits any more for the tasks of a *group* (a fan-out, say), or for one attempt of one of them."""

    group: str
    task_id: str | None = None
    attempt: int | None = None

    def means(self, task_id: str, attempt: int) -> bool:
        """Whether an attempt is among what nobody waits for."""
        if self.task_id is None:
            return self.group in (group_of(task_id), f"{group_of(task_id)}/{attempt}")
        return (task_id, attempt) == (self.task_id, self.attempt)


@dataclass(frozen=True, slots=True)
class Barred:
    """Nothing counts that a worker answers: it may not come in."""

    worker_id: str


Control = Cancel | Barred

#: Kind -> class and fields; fields are called the same on the wire and in the class.
_CONTROLS: dict[str, tuple[Callable[..., Control], tuple[Field, ...]]] = {
    "cancel": (Cancel, (identifier("group"), or_null(identifier("task_id")), or_null(attempt("attempt")))),
    "barred": (Barred, (identifier("worker_id"),)),
}
_KINDS = {make: kind for kind, (make, _) in _CONTROLS.items()}


def dump_control(control: Control) -> str:
    """The body of a word to all workers."""
    kind = _KINDS[type(control)]
    return dump(kind, {name: getattr(control, name) for name, _, _ in _CONTROLS[kind][1]})


def load_control(raw: str | bytes) -> Control:
    """What all workers are told."""
    body = load("control", raw)
    kind = body.get("kind")
    if not isinstance(kind, str) or kind not in _CONTROLS:
        raise bad("control", body, "kind", f"one of {', '.join(_CONTROLS)}")
    make, fields = _CONTROLS[kind]
    return make(**read(kind, body, fields))
