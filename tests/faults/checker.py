"""Checks a finished job against the invariants. The negative control proves that it detects a broken commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from avtomatika.core.job import Job, RecordedEntry
from avtomatika.store import Store

from ..support.history_replay import replay

#: Events that occur at most once in a job of the fault-injection tests, besides those of branches.
_ONCE = {"branches_joined", "timer_set", "timer_fired", "approved", "child_started", "child_finished"}
_ENDS = {"job_finished", "job_failed", "job_cancelled", "job_error"}


def violations(store: Store, job_id: str, *, states: Sequence[str], result: object) -> list[str]:
    """Describe the violations of one job; empty if it passed *states* to *result*, each step once."""
    job = store.load(job_id)
    if job is None:
        return [f"{job_id}: is gone"]
    history, _ = store.history(job_id, limit=10_000)
    found = [
        *_wrong_end(job, result),
        *_gaps(job, history),
        *_repeated(history, states),
        *_wrong_replay(store, job, history),
    ]
    return [f"{job_id}: {text}" for text in found]


def _wrong_end(job: Job, result: object) -> list[str]:
    if job.status != "finished":
        return [f"ended as {job.status} in {job.current_state}, {job.error}"]
    return [] if job.result == result else [f"result {job.result!r}, not {result!r}"]


def _gaps(job: Job, history: Sequence[RecordedEntry]) -> list[str]:
    found = []
    if [entry.seq for entry in history] != list(range(1, len(history) + 1)):
        found.append("the history has gaps")
    versions = [entry.version for entry in history]
    if versions != sorted(versions) or set(versions) != set(range(1, job.version + 1)):
        found.append(f"versions {versions} do not rise by one to {job.version}")
    return found


def _repeated(history: Sequence[RecordedEntry], states: Sequence[str]) -> list[str]:
    entries = [recorded.entry for recorded in history]
    found = []
    entered = [entry.state for entry in entries if entry.event_type == "state_entered"]
    if entered != list(states):
        found.append(f"entered {entered}, not {list(states)}")
    ends = [entry.event_type for entry in entries if entry.event_type in _ENDS]
    own = [entry for entry in entries if not entry.event_type.startswith("webhook_")]  # these follow the end
    if len(ends) != 1 or own[-1].event_type not in _ENDS:
        found.append(f"ends {ends}")
    once = Counter(entry.event_type for entry in entries if entry.event_type in _ONCE and entry.task_id is None)
    found += [f"{count} times {event_type}" for event_type, count in once.items() if count > 1]
    answers = Counter(entry.task_id for entry in entries if entry.event_type in ("task_succeeded", "branch_finished"))
    found += [f"{count} results of {task} were taken" for task, count in answers.items() if count > 1]
    sent = Counter((entry.task_id, entry.attempt) for entry in entries if entry.event_type == "task_dispatched")
    found += [f"{task} was dispatched {count} times" for task, count in sent.items() if count > 1]
    return found


def _wrong_replay(store: Store, job: Job, history: Sequence[RecordedEntry]) -> list[str]:
    again = replay(job, [recorded.entry for recorded in history])
    told = (again.status, again.current_state, again.state_history)
    stored = (job.status, job.current_state, job.state_history)
    return [] if told == stored else [f"the history tells {told}, stored is {stored}"]
