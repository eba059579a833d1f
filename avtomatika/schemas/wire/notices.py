"""Worker notices: the messages of ``avt.workers``."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from avtomatika.core.frozen import dataclass
from avtomatika.core.job import Json
from avtomatika.core.signing import Signer
from avtomatika.schemas.fields import attempt, identifier, json_object, rows, share, text
from avtomatika.schemas.worker_status import sanitized_record, sanitized_status

from .body import MessageKinds, dump, load, now_ms
from .streams import STREAM_FIELDS, StreamChunks


@dataclass(frozen=True, slots=True)
class TaskStarted:
    """A worker is about to start an attempt of a task, which *state* waits for."""

    job_id: str
    task_id: str
    attempt: int
    worker_id: str
    state: str


@dataclass(frozen=True, slots=True)
class TasksStarted:
    """The same for several tasks of one worker; each is ``[job_id, task_id, attempt, state]``."""

    worker_id: str
    tasks: Sequence[Sequence[Json]]

    @property
    def taken(self) -> list[TaskStarted]:
        return [
            TaskStarted(job_id, task_id, attempt, self.worker_id, state)
            for job_id, task_id, attempt, state in self.tasks
        ]


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of an attempt of a task: *progress* from 0 to 1, *message* for people."""

    job_id: str
    task_id: str
    attempt: int
    worker_id: str
    progress: float
    message: str = ""


@dataclass(frozen=True, slots=True)
class Registered:
    """A worker has registered; *record* is stored (``schemas.worker_status``)."""

    worker_id: str
    record: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A worker is alive; *beat* is its status (``schemas.worker_status``)."""

    worker_id: str
    beat: Mapping[str, Json]


Notice = TaskStarted | TasksStarted | Progress | StreamChunks | Registered | Heartbeat

_TASK = (identifier("job_id"), identifier("task_id"), attempt("attempt"), identifier("worker_id"))

_NOTICES: MessageKinds[Notice] = MessageKinds(
    "notice",
    {
        "taken": (TaskStarted, (*_TASK, identifier("state"))),
        "begun": (TasksStarted, (identifier("worker_id"), rows("tasks", *_TASK[:3], identifier("state")))),
        "progress": (Progress, (*_TASK, share("progress"), text("message"))),
        "chunks": (StreamChunks, STREAM_FIELDS),
        "register": (Registered, (identifier("worker_id"), json_object("record"))),
        "heartbeat": (Heartbeat, (identifier("worker_id"), json_object("beat"))),
    },
)


def dump_notice(notice: Notice, signer: Signer | None = None) -> str:
    """Encode a notice, signed if there is a *signer*."""
    kind, values = _NOTICES.values(notice)
    return dump(kind, {**values, "ts": now_ms()}, signer=signer)


def load_notice(raw: str | bytes) -> Notice:
    """Decode a notice."""
    notice = _NOTICES.read(load("notice", raw))
    match notice:
        case Registered():
            return replace(notice, record=sanitized_record(notice.record))
        case Heartbeat():
            return replace(notice, beat=sanitized_status(notice.beat))
    return notice
