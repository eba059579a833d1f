"""Replays a job's history.

A job's status, state and ``state_history`` follow from its history alone. Tests check every run against this invariant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import reduce

from avtomatika.core.job import HistoryEntry, Job, JobStatus, Json, branch_of
from avtomatika.core.machine.task_results import merged

#: Status of a job after an entry of each type; other entries do not change it.
_STATUS_AFTER: Mapping[str, JobStatus] = {
    "job_created": JobStatus.PENDING,
    "state_entered": JobStatus.RUNNING,
    "handler_failed": JobStatus.RUNNING,
    "task_dispatched": JobStatus.WAITING_FOR_WORKER,
    "task_retried": JobStatus.WAITING_FOR_WORKER,
    "timer_set": JobStatus.WAITING_FOR_TIMER,
    "signal_awaited": JobStatus.WAITING_FOR_SIGNAL,
    "approval_requested": JobStatus.WAITING_FOR_HUMAN,
    "child_started": JobStatus.WAITING_FOR_CHILD,
    "job_finished": JobStatus.FINISHED,
    "job_failed": JobStatus.FAILED,
    "job_cancelled": JobStatus.CANCELLED,
    "job_error": JobStatus.ERROR,
    "job_quarantined": JobStatus.QUARANTINED,
    "job_resumed": JobStatus.RUNNING,
}


def replay(job_at_creation: Job, entries: Iterable[HistoryEntry]) -> Job:
    """*job_at_creation* after *entries*, oldest first, as far as its status, current state and state history go."""
    return reduce(_after, entries, job_at_creation)


def _after(job: Job, entry: HistoryEntry) -> Job:
    data = entry.data or {}
    status = JobStatus.RUNNING if "go_to" in data else _status_after(job, entry)
    return replace(
        job,
        status=status,
        current_state=data.get("go_to", entry.state or job.current_state),
        state_history=_learnt(job.state_history, entry.event_type, data),
    )


def _status_after(job: Job, entry: HistoryEntry) -> JobStatus:
    status = _STATUS_AFTER.get(entry.event_type, job.status)
    if status is JobStatus.WAITING_FOR_WORKER and branch_of(str(entry.task_id)):
        return JobStatus.WAITING_FOR_PARALLEL
    return status


def _learnt(state_history: Mapping[str, Json], event_type: str, data: Mapping[str, Json]) -> Mapping[str, Json]:
    match event_type:
        case "state_entered":
            return {**state_history, **data.get("state_history", {})}
        case "task_succeeded":
            return merged(state_history, data.get("data"))
        case "child_finished":
            return merged(state_history, data.get("result"))
        case "approved" | "rejected" | "decided":
            return {**state_history, "approval": {name: value for name, value in data.items() if name != "go_to"}}
        case "signal_taken":
            return {**state_history, "signal_data": data.get("data")}
        case _:
            return state_history
