"""Notices of workers on the wire: what ``avt.workers`` carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from avtomatika.core.job import Json
from avtomatika.core.signing import Signer
from avtomatika.schemas.fields import attempt, identifier, json_object, rows, share, text
from avtomatika.schemas.worker_status import heard_beat, heard_record

from .body import dump, load, now_ms
from .kinds import Kinds


@dataclass(frozen=True, slots=True)
class Taken:
    """A worker is about to begin with an attempt of a task, which *state* waits for."""

    job_id: str
    task_id: str
    attempt: int
    worker_id: str
    state: str


@dataclass(frozen=True, slots=True)
class Begun:
    """The same of several tasks of one worker, in one message; each is ``[job_id, task_id, attempt, state]``."""

    worker_id: str
    tasks: Sequence[Sequence[Json]]

    @property
    def taken(self) -> list[Taken]:
        return [
            Taken(job_id, task_id, attempt, self.worker_id, state) for job_id, task_id, attempt, state in self.tasks
        ]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an attempt of a task is: *progress* from 0 to 1, *message* for people."""

    job_id: str
    task_id: str
    attempt: int
    worker_id: str
    progress: float
    message: str = ""


@dataclass(frozen=True, slots=True)
class Registered:
    """A worker is there; *record* is what is kept of it (``schemas.presence``)."""

    worker_id: str
    record: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Beat:
    """A worker is still there; *beat* is how it fares (``schemas.presence``)."""

    worker_id: str
    beat: Mapping[str, Json]


Notice = Taken | Begun | Progress | Registered | Beat

_TASK = (identifier("job_id"), identifier("task_id"), attempt("attempt"), identifier("worker_id"))

_NOTICES: Kinds[Notice] = Kinds(
    "notice",
    {
        "taken": (Taken, (*_TASK, identifier("state"))),
        "begun": (Begun, (identifier("worker_id"), rows("tasks", *_TASK[:3], identifier("state")))),
        "progress": (Progress, (*_TASK, share("progress"), text("message"))),
        "register": (Registered, (identifier("worker_id"), json_object("record"))),
        "heartbeat": (Beat, (identifier("worker_id"), json_object("beat"))),
    },
)


def dump_notice(notice: Notice, signer: Signer | None = None) -> str:
    """The body of a worker's notice, signed where there is a *signer*."""
    kind, values = _NOTICES.values(notice)
    return dump(kind, {**values, "ts": now_ms()}, signer=signer)


def load_notice(raw: str | bytes) -> Notice:
    """What a worker had to say."""
    notice = _NOTICES.read(load("notice", raw))
    match notice:
        case Registered():
            return replace(notice, record=heard_record(notice.record))
        case Beat():
            return replace(notice, beat=heard_beat(notice.beat))
    return notice
