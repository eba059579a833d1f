"""The values that are kept: Job, Task, HistoryEntry. Frozen; changed by copy, by the machine alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

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

    ``id`` is ``<job>.<step>.<branch>``, the same however often it is published; ``attempt`` counts from 1, only grows,
    and fences: a result of another attempt is stale. ``is_open`` is False while the back-off before ``attempt`` runs.
    ``output_schema`` is the JSON Schema that the data of its result must fit.
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
    is_open: bool = True


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a blueprint.

    ``version`` rises by one a commit. ``steps`` counts the dispatches and ``transitions`` the states entered so far.
    ``state_history`` holds what results and handlers left behind, merged. ``tasks`` are those it waits for.
    ``retry_of`` is the id of the job that this one does again.
    ``result`` is the data of the last task, until the job ends with a result of its own; ``error`` is what went wrong
    last, gone with the next success.
    ``webhooks`` counts those that it has sent, so that each can wait for the one before it.
    ``created_ms`` and ``updated_ms`` are the server's clock, milliseconds since the epoch, set by the store.
    """

    id: str
    blueprint: str
    plan8: str
    status: JobStatus = JobStatus.PENDING
    current_state: str | None = None
    version: int = 0
    client: str = ""
    initial_data: Mapping[str, Json] = field(default_factory=dict)
    state_history: Mapping[str, Json] = field(default_factory=dict)
    result: Json = None
    error: Mapping[str, Json] | None = None
    tasks: Mapping[str, Task] = field(default_factory=dict)
    steps: int = 0
    transitions: int = 0
    handler_failures: int = 0
    webhooks: int = 0
    priority: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    webhook_url: str | None = None
    retry_of: str | None = None
    dispatch_timeout_seconds: float | None = None
    result_timeout_seconds: float | None = None
    created_ms: int = 0
    updated_ms: int = 0

    def evolve(self, **changes: Json) -> Job:
        """A copy with *changes*: what ``dataclasses.replace`` makes, in a third of its time: a step makes several.

        >>> Job("g0-1", "video", "0a1b2c3d").evolve(steps=1).steps
        1
        """
        if not changes.keys() <= _SLOTS.keys():
            raise TypeError(f"a job has no {', '.join(sorted(changes.keys() - _SLOTS.keys()))}")
        copy = object.__new__(Job)
        for slot in _SLOTS.values():
            slot.__set__(copy, slot.__get__(self))
        for name, value in changes.items():
            _SLOTS[name].__set__(copy, value)
        return copy


_SLOTS = {field.name: getattr(Job, field.name) for field in fields(Job)}


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
