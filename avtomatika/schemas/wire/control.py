"""Control messages on the wire: what orchestrators tell all workers at once."""

from __future__ import annotations

from dataclasses import dataclass

from avtomatika.core.job import group_of
from avtomatika.schemas.fields import attempt, identifier, or_null

from .body import dump, load_kind, read

_FIELDS = (identifier("group"), or_null(identifier("task_id")), or_null(attempt("attempt")))


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


def dump_cancel(cancel: Cancel) -> str:
    """The body of the word to stop."""
    return dump("cancel", {"group": cancel.group, "task_id": cancel.task_id, "attempt": cancel.attempt})


def load_cancel(raw: str | bytes) -> Cancel:
    """What is to be stopped."""
    return Cancel(**read("cancel", load_kind("cancel", raw), _FIELDS))
