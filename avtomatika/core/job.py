"""The values that are kept: Job, Task, HistoryEntry. Frozen; changed by copy, by the machine alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Literal

from .placement.selection import Needs
from .retry import RetryPolicy

#: Anything that JSON can carry.
Json = Any


class JobStatus(StrEnum):
    PENDING = "pending"  # created, its first step not yet taken
    RUNNING = "running"  # between two states, or a handler waits to be tried again
    WAITING_FOR_WORKER = "waiting_for_worker"
    WAITING_FOR_PARALLEL = "waiting_for_parallel"
    WAITING_FOR_HUMAN = "waiting_for_human"
    WAITING_FOR_TIMER = "waiting_for_timer"
    WAITING_FOR_CHILD = "waiting_for_child"
    QUARANTINED = "quarantined"  # at rest until somebody looks: left by retry or cancel
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ERROR = "error"  # the blueprint itself is at fault

    @property
    def is_final(self) -> bool:
        """Whether a job never leaves this status."""
        return self in _FINAL


_FINAL = frozenset({JobStatus.FINISHED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.ERROR})


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of work that a job waits for.

    ``id`` is ``<job>.<step>.<branch>``, the same however often it is published; the branches of a fan-out count from 1,
    a task that stands alone is 0. ``attempt`` counts from 1, only grows, and fences: a result of another attempt is
    stale. ``is_open`` is False while the back-off before ``attempt`` runs.
    ``output_schema`` is the JSON Schema that the data of its result must fit; ``retry`` how failures are tried again,
    where that is not as usual: but for ``max_retries``, which is counted here. ``needs`` is what it asks of
    its worker: ``worker_id`` was chosen for it, or ``missing`` says why nobody was; without one it is for any worker.
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

    @property
    def branch(self) -> int:
        """Its number in its fan-out, 0 where it stands alone."""
        return branch_of(self.id)

    @property
    def group(self) -> str:
        """Revokes the messages of all of its attempts, and of its siblings in a fan-out."""
        return group_of(self.id)

    @property
    def attempt_group(self) -> str:
        """Revokes the message of its present attempt."""
        return f"{self.id}/{self.attempt}"

    @property
    def groups(self) -> str:
        """The groups that its message belongs to, as its header names them."""
        return f"{self.group} {self.attempt_group}"


def group_of(task_id: str) -> str:
    """What the messages of a task are revoked with.

    >>> group_of("g0-1.4.12")
    'g0-1.4'
    """
    return task_id.rpartition(".")[0]


def job_of(task_id: str) -> str:
    """The id of the job that a task belongs to.

    >>> job_of("g0-1.4.12")
    'g0-1'
    """
    return task_id.rsplit(".", 2)[0]


def branch_of(task_id: str) -> int:
    """The number of a task in its fan-out, 0 for one that stands alone and for what is no id of a task.

    >>> branch_of("g0-1.4.12")
    12
    """
    return _number(task_id.rpartition(".")[2])


def step_of(task_id: str) -> int:
    """The step of its job that dispatched a task, from 1; 0 for what is no id of a task.

    >>> step_of("g0-1.4.12")
    4
    """
    return _number(group_of(task_id).rpartition(".")[2])


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


@dataclass(frozen=True, slots=True)
class Branches:
    """The branches ``<job>.<step>.1`` to ``.<size>`` that a job waits for, on its way from *state* to *aggregator*.

    Their tasks are kept beside the job, each by itself: a job holds in ``tasks`` only those that somebody asked for.
    *sent* of them have been published.
    """

    step: int
    state: str
    aggregator: str
    size: int
    sent: int


@dataclass(frozen=True, slots=True)
class WaitRecord:
    """What a job waits for that is no task: a time, a person, a job of another blueprint.

    ``token`` tells this wait from every other; ``transitions`` maps what may come to the next state; ``details`` are
    what people are told of it.
    """

    kind: Literal["timer", "approval", "child"]
    token: str
    state: str
    transitions: Mapping[str, str]
    details: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parent:
    """The job that waits for this one, the routing key by which it hears of its end, and how many stand above it."""

    job_id: str
    routing_key: str
    depth: int


@dataclass(frozen=True)
class Job:
    """One run of a blueprint.

    ``version`` rises by one a commit. ``steps`` counts the dispatches and ``transitions`` the states entered so far,
    ``rush`` those entered in a row without a task, a timer, a person or another job in between.
    ``state_history`` holds what results and handlers left behind, merged. ``tasks`` are those it waits for.
    ``earlier_plans`` are those that it had before ``plan_hash``: what it waits for may still come by their keys.
    ``retry_of`` is the id of the job that this one does again. ``parent`` waits for this job, ``children`` are the ids
    of those that it started itself.
    ``result`` is the data of the last task, until the job ends with a result of its own; ``error`` is what went wrong
    last, gone with the next success.
    ``execution_timeout_seconds`` is how long it may take from its creation to its end.
    ``webhooks`` counts those that it has sent, so that each can wait for the one before it.
    ``large`` are the values in it that the store keeps apart, by name with their size as JSON, set by the store.
    ``created_ms`` and ``updated_ms`` are the server's clock, milliseconds since the epoch, set by the store.
    """

    id: str
    blueprint: str
    plan_hash: str
    status: JobStatus = JobStatus.PENDING
    current_state: str | None = None
    version: int = 0
    client: str = ""
    initial_data: Mapping[str, Json] = field(default_factory=dict)
    state_history: Mapping[str, Json] = field(default_factory=dict)
    result: Json = None
    error: Mapping[str, Json] | None = None
    tasks: Mapping[str, Task] = field(default_factory=dict)
    fan_out: Branches | None = None
    pause: WaitRecord | None = None
    children: tuple[str, ...] = ()
    earlier_plans: tuple[str, ...] = ()
    steps: int = 0
    transitions: int = 0
    rush: int = 0
    handler_failures: int = 0
    webhooks: int = 0
    priority: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    webhook_url: str | None = None
    retry_of: str | None = None
    parent: Parent | None = None
    dispatch_timeout_seconds: float | None = None
    result_timeout_seconds: float | None = None
    execution_timeout_seconds: float | None = None
    large: Mapping[str, tuple[Json, int]] = field(default_factory=dict, compare=False, repr=False)
    created_ms: int = 0
    updated_ms: int = 0

    def evolve(self, **changes: Json) -> Job:
        """A copy with *changes*: what ``dataclasses.replace`` makes, in a tenth of its time: a step makes several.

        >>> Job("g0-1", "video", "0a1b2c3d").evolve(steps=1).steps
        1
        """
        if not changes.keys() <= _FIELDS:
            raise TypeError(f"a job has no {', '.join(sorted(changes.keys() - _FIELDS))}")
        copy = object.__new__(Job)
        copy.__dict__.update(self.__dict__, **changes)
        return copy


_FIELDS = frozenset(field.name for field in fields(Job))


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One line of a job's history as the machine writes it; number, version and time are given where it is stored."""

    event_type: str
    state: str | None = None
    task_id: str | None = None
    attempt: int | None = None
    worker_id: str | None = None
    duration_ms: int | None = None
    data: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class RecordedEntry:
    """A history entry as it was stored: ``seq`` is its place (1..n, no gap), ``version`` the job's at that moment."""

    seq: int
    version: int
    timestamp_ms: int
    entry: HistoryEntry
