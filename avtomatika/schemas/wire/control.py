"""Control messages: broadcasts from orchestrators to all workers."""

from avtomatika.core.frozen import dataclass
from avtomatika.core.job import group_of
from avtomatika.schemas.fields import attempt, flag, identifier, or_null

from .body import MessageKinds, dump, load


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancels all tasks of a *group* (such as a fan-out), or one attempt of one task."""

    group: str
    task_id: str | None = None
    attempt: int | None = None

    def covers(self, task_id: str, attempt: int) -> bool:
        """Return True if it cancels this attempt."""
        if self.task_id is None:
            return self.group == group_of(task_id)
        return (task_id, attempt) == (self.task_id, self.attempt)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A worker is not authorized: its results are rejected."""

    worker_id: str


@dataclass(frozen=True, slots=True)
class Drain:
    """A worker is drained and takes no new tasks, or takes tasks again."""

    worker_id: str
    is_drained: bool


Control = Cancel | Rejected | Drain

_CONTROLS: MessageKinds[Control] = MessageKinds(
    "control",
    {
        "cancel": (Cancel, (identifier("group"), or_null(identifier("task_id")), or_null(attempt("attempt")))),
        "barred": (Rejected, (identifier("worker_id"),)),
        "drain": (Drain, (identifier("worker_id"), flag("is_drained"))),
    },
)


def dump_control(control: Control) -> str:
    """Encode a control message."""
    return dump(*_CONTROLS.values(control))


def load_control(raw: str | bytes) -> Control:
    """Decode a control message."""
    return _CONTROLS.read(load("control", raw))
