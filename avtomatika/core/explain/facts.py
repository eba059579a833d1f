"""The facts about a job that does not move, and about everything that it may wait for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from avtomatika.core.job import HistoryEntry, Job
from avtomatika.core.limits import LimitValues
from avtomatika.core.placement.selection import Unfit


@dataclass(frozen=True, slots=True)
class TaskProgress:
    """The worker of an open task and its progress.

    *progress* is 0 to 1, None before the first report; *reported_ms* is the server time of the report.
    """

    worker_id: str | None = None
    progress: float | None = None
    message: str | None = None
    reported_ms: int = 0


@dataclass(frozen=True, slots=True)
class LiveState:
    """*in_flight* has the open tasks that a worker has started; of a fan-out, only the number *branches_left* is known.

    *decision* is the decision on the job's approval until the job continues.
    """

    in_flight: Mapping[str, TaskProgress] = field(default_factory=dict)
    branches_left: int | None = None
    decision: str | None = None


@dataclass(frozen=True, slots=True)
class AbleWorker:
    """A worker whose last heartbeat was *silent_ms* ago; *is_online* unless it is lost, offline or revoked.

    *unfit* says why it takes no tasks of some of its skills.
    """

    worker_id: str
    skills: frozenset[str]
    silent_ms: int
    is_online: bool
    status: str
    unfit: Unfit | None = None


@dataclass(frozen=True, slots=True)
class StoppedBy:
    """The limit that a task waits for, such as ``skill:encode``: its *values*, the number of tasks that run, and
    *job_ids* of some; who paused it; and how long the first task in line waits on average, if that is known."""

    name: str
    values: LimitValues
    running: int = 0
    job_ids: Sequence[str] = ()
    paused_ms: int | None = None
    paused_by: str | None = None
    seconds_each: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePlace:
    """A queue with *waiting* messages: the message of the job has *before* messages ahead of it, or *holder* has leased
    it. No consumer takes from it since *paused_by* paused it at *paused_ms*. If *in_turns*, fairness keys take turns;
    if *limit* stops the message, *before* others wait for the same limit."""

    queue: str
    waiting: int = 0
    before: int | None = None
    holder: str | None = None
    silent_ms: int = 0
    paused_ms: int | None = None
    paused_by: str | None = None
    in_turns: bool = False
    limit: StoppedBy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Facts about *job*; of a fan-out, it has some of its open tasks.

    *due_ms* has the armed timers by id. *plan_silent_ms* is None if no orchestrator ever announced the plan. *places*
    are by task id; that of the next step is under the job id. *child* are the facts about the child job, of a fan-out
    about the first open one; None if it does not exist. *earlier* are the jobs with its unique key that it waits for.
    *ending* is the last history entry of an ended job.
    """

    job: Job
    now_ms: int
    live_state: LiveState = field(default_factory=LiveState)
    due_ms: Mapping[str, int] = field(default_factory=dict)
    plan_silent_ms: int | None = 0
    places: Mapping[str, QueuePlace] = field(default_factory=dict)
    workers: Sequence[AbleWorker] = ()
    memory_share: float = 0.0
    child: "Facts | None" = None
    earlier: Sequence[str] = ()
    ending: HistoryEntry | None = None
