"""The stored values: Job, Task, HistoryEntry. They are frozen; only the machine makes changed copies."""

from collections.abc import Mapping
from dataclasses import field, fields
from enum import StrEnum
from typing import Literal, Self

from .frozen import dataclass
from .job_request import JobRequest, Json as Json
from .placement.selection import Needs
from .retry import RetryPolicy


class JobStatus(StrEnum):
    PENDING = "pending"  # created; the first step has not run
    RUNNING = "running"  # between two states, or a handler waits for a retry
    WAITING_FOR_WORKER = "waiting_for_worker"
    WAITING_FOR_PARALLEL = "waiting_for_parallel"
    WAITING_FOR_HUMAN = "waiting_for_human"
    WAITING_FOR_SIGNAL = "waiting_for_signal"
    WAITING_FOR_TIMER = "waiting_for_timer"
    WAITING_FOR_CHILD = "waiting_for_child"
    QUARANTINED = "quarantined"  # stopped until a person retries or cancels it
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ERROR = "error"  # the blueprint is faulty

    @property
    def is_final(self) -> bool:
        """True if a job never leaves this status."""
        return self in _FINAL

    @property
    def outcome(self) -> str:
        """The outcome of a child job that ended with this status, for its parent."""
        return {"finished": "success", "cancelled": "cancelled"}.get(self, "failure")


_FINAL = frozenset({JobStatus.FINISHED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.ERROR})


@dataclass(frozen=True, slots=True)
class Task:
    """A task that a job waits for.

    ``id`` is ``<job>.<step>.<branch>`` and is the same for all attempts; branches of a fan-out count from 1, a single
    task is 0. ``attempt`` counts from 1 and only grows; results of other attempts are stale. ``is_open`` is False
    during the back-off before ``attempt``. ``output_schema`` is the JSON Schema for the data of its result. ``retry``
    is its retry policy if it differs from the default (``max_retries`` is kept here). ``needs`` are its requirements on
    a worker: ``worker_id`` is the chosen worker, or ``missing`` says why none fits; None means any worker.

    A branch with a ``blueprint`` runs a child job instead: ``params`` are its initial data, ``labels`` are added to
    those of the job, and ``time_limit_seconds`` is its execution timeout.
    """

    id: str
    task_type: str
    state: str
    transitions: Mapping[str, str]
    params: Mapping[str, Json] = field(default_factory=dict)
    attempt: int = 1
    max_retries: int = 3
    priority: int = 0
    dispatch_timeout_seconds: float | None = None
    result_timeout_seconds: float | None = None
    output_schema: Mapping[str, Json] | None = None
    retry: RetryPolicy | None = None
    needs: Needs | None = None
    worker_id: str | None = None
    missing: str | None = None
    is_open: bool = True
    blueprint: str | None = None
    labels: Mapping[str, str] | None = None
    time_limit_seconds: float | None = None

    @property
    def branch(self) -> int:
        """Its number in its fan-out, 0 for a single task."""
        return branch_of(self.id)

    @property
    def child_id(self) -> str:
        """The id of the child job, if the branch runs one."""
        return self.id.replace(".", "-")

    @property
    def group(self) -> str:
        """The revocation group of all attempts, and of all branches of the fan-out."""
        return group_of(self.id)

    @property
    def attempt_group(self) -> str:
        """The revocation group of the current attempt."""
        return f"{self.id}/{self.attempt}"

    @property
    def groups(self) -> str:
        """The revocation groups of its message, as in the message header."""
        return f"{self.group} {self.attempt_group}"


def group_of(task_id: str) -> str:
    """Return the revocation group of a task.

    >>> group_of("g0-1.4.12")
    'g0-1.4'
    """
    return task_id.rpartition(".")[0]


def job_of(task_id: str) -> str:
    """Return the job id of a task.

    >>> job_of("g0-1.4.12")
    'g0-1'
    """
    return task_id.rsplit(".", 2)[0]


def branch_of(task_id: str) -> int:
    """Return the number of a task in its fan-out; 0 for a single task or an invalid id.

    >>> branch_of("g0-1.4.12")
    12
    """
    return _number(task_id.rpartition(".")[2])


def step_of(task_id: str) -> int:
    """Return the step of the job that dispatched a task, from 1; 0 for an invalid id.

    >>> step_of("g0-1.4.12")
    4
    """
    return _number(group_of(task_id).rpartition(".")[2])


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


@dataclass(frozen=True, slots=True)
class Branches:
    """A fan-out: a job waits for the branches ``<job>.<step>.1`` to ``.<size>`` between *state* and *aggregator*.

    Tasks of branches are stored separately; ``job.tasks`` has only those that were loaded. *sent* branches have been
    published, and at most *max_concurrency* of their tasks run at a time.
    *failed* branches are joined like the others; *failure* is the error of the first of them and the state
    that it leads to (``go_to``). With more than *max_failures* of them the fan-out fails: at once, or, if it
    *finishes_all*, when all have ended. *is_decided* by a branch that succeeded: the job waits for no other.
    (Optional fields that do not apply are None: orchestrators of earlier versions do not know them.)
    """

    step: int
    state: str
    aggregator: str
    size: int
    sent: int
    max_concurrency: int | None = None
    has_children: bool | None = None
    finishes_all: bool | None = None
    max_failures: int | None = None
    first_success: bool | None = None
    failed: int | None = None
    failure: Mapping[str, Json] | None = None
    is_decided: bool | None = None

    @property
    def has_failed(self) -> bool:
        """True if more branches have failed than may fail."""
        return (self.failed or 0) > (self.max_failures or 0)


@dataclass(frozen=True, slots=True)
class WaitRecord:
    """A wait of a job for a time, a person, a signal, or a child job.

    ``token`` identifies this wait; ``transitions`` maps outcomes to states; ``details`` are shown to people.
    """

    kind: Literal["timer", "approval", "signal", "child"]
    token: str
    state: str
    transitions: Mapping[str, str]
    details: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parent:
    """The job that waits for this one, the routing key for events of this one, and the nesting depth. *task_id* is the
    branch that this one is."""

    job_id: str
    routing_key: str
    depth: int
    task_id: str | None = None


@dataclass(frozen=True)
class Job(JobRequest):
    """A run of a blueprint.

    ``version`` grows by one with each commit. ``steps`` counts dispatches, ``transitions`` the states entered, ``rush``
    the states entered in a row without waiting. ``state_history`` is the job data: results and the changes of handlers,
    merged. ``tasks`` are the tasks that it waits for. ``earlier_plans`` are the plans before ``plan_hash``: outcomes of
    what it waits for may still arrive with their keys. ``kept`` are results for the branches of its first fan-out
    (``machine.rerun.StartPoint``).
    ``parent`` waits for this job; ``children`` are the ids of the last child jobs that it started. ``result`` is the
    data of the last task until the job ends with its own result; ``error`` is the last error, cleared by the next
    success. ``signals`` were sent and no wait has taken them: ``{"id", "name", "data", "by"}``, oldest first.
    ``webhooks`` counts webhooks sent, so that they are delivered in order. ``large`` are the values that the store
    keeps separately, by name with their size as JSON; ``created_ms`` and ``updated_ms`` are milliseconds since the
    epoch by the server's clock. The store sets all three.
    """

    id: str
    blueprint: str
    plan_hash: str
    status: JobStatus = JobStatus.PENDING
    current_state: str | None = None
    version: int = 0
    client: str = ""
    state_history: Mapping[str, Json] = field(default_factory=dict)
    result: Json = None
    error: Mapping[str, Json] | None = None
    tasks: Mapping[str, Task] = field(default_factory=dict)
    fan_out: Branches | None = None
    kept: Mapping[str, Json] = field(default_factory=dict)
    wait: WaitRecord | None = None
    children: tuple[str, ...] = ()
    earlier_plans: tuple[str, ...] = ()
    steps: int = 0
    transitions: int = 0
    rush: int = 0
    handler_failures: int = 0
    webhooks: int = 0
    signals: tuple[Mapping[str, Json], ...] = ()
    parent: Parent | None = None
    large: Mapping[str, tuple[Json, int]] = field(default_factory=dict, compare=False, repr=False)
    created_ms: int = 0
    updated_ms: int = 0

    @staticmethod
    def of(**given: Json) -> "Job":
        """Return the job of *given* fields in half the time of the constructor; they must include all without a
        default."""
        return _BLANK._with(given)

    def evolve(self, **changes: Json) -> "Job":
        """Return a copy with *changes*, ten times faster than ``dataclasses.replace``, because a step makes several
        copies.

        >>> Job("g0-1", "video", "0a1b2c3d").evolve(steps=1).steps
        1
        """
        return self._with(changes)

    def _with(self, changes: dict[str, Json]) -> "Job":
        if not changes.keys() <= _FIELDS:
            raise TypeError(f"a job has no {', '.join(sorted(changes.keys() - _FIELDS))}")
        copy = object.__new__(Job)
        copy.__dict__ = self.__dict__ | changes
        return copy

    def open_attempt(self, task_id: str, attempt: int | None) -> Task | None:
        """Return the task, if the job waits for this *attempt* of it."""
        task = self.tasks.get(task_id)
        return task if task is not None and task.is_open and task.attempt == attempt else None


_FIELDS = frozenset(field.name for field in fields(Job))
_BLANK = Job("", "", "")


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """A history entry as the machine writes it; the store adds number, version and time."""

    event_type: str
    state: str | None = None
    task_id: str | None = None
    attempt: int | None = None
    worker_id: str | None = None
    duration_ms: int | None = None
    data: Mapping[str, Json] | None = None

    @classmethod
    def of_task(
        cls, event_type: str, task: Task, data: Mapping[str, Json] | None = None, *, worker_id: str | None = None
    ) -> Self:
        return cls(event_type, task.state, task.id, task.attempt, worker_id, data=data)


@dataclass(frozen=True, slots=True)
class RecordedEntry:
    """A stored history entry; ``seq`` is its position (1..n without gaps), ``version`` that of the job."""

    seq: int
    version: int
    timestamp_ms: int
    entry: HistoryEntry
