"""What is known of a job that does not move, and of all that it may wait for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from avtomatika.core.job import HistoryEntry, Job
from avtomatika.core.placement.selection import Unfit

from .live_state import LiveState


@dataclass(frozen=True, slots=True)
class AbleWorker:
    """A worker whose last heartbeat came *silent_ms* ago; *is_online* unless it is lost, offline or revoked.

    *unfit* is why it takes no tasks of some of its skills for now.
    """

    worker_id: str
    skills: frozenset[str]
    silent_ms: int
    is_online: bool
    status: str
    unfit: Unfit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePlace:
    """The queue of what the job waits for: *waiting* messages in all, *before* it, or *holder* who has it."""

    queue: str
    waiting: int = 0
    before: int | None = None
    holder: str | None = None
    silent_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """*job* has some of its open tasks where it is a fan-out. *due_ms* has the timers that are armed, by id.

    *plan_silent_ms* is None where nobody ever announced the plan. *places* are by task id; that of the next step is
    under the job's. *child* are the facts of the job that it waits for, None where that is gone. *ending* is
    the history entry of the end of a job that has ended.
    """

    job: Job
    now_ms: int
    live_state: LiveState = field(default_factory=LiveState)
    due_ms: Mapping[str, int] = field(default_factory=dict)
    plan_silent_ms: int | None = 0
    places: Mapping[str, QueuePlace] = field(default_factory=dict)
    workers: Sequence[AbleWorker] = ()
    memory_share: float = 0.0
    child: Facts | None = None
    ending: HistoryEntry | None = None
