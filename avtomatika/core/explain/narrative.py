"""The history of a job in words: one sentence for each entry."""

from collections.abc import Callable, Mapping
from typing import Any

from avtomatika.core.graph.style import span
from avtomatika.core.job import HistoryEntry, branch_of

_Data = Mapping[str, Any]


def narrate(entry: HistoryEntry) -> str:
    """Return what happened, without a full stop; for entries of an unknown type their name."""
    tell = _SENTENCES.get(entry.event_type)
    return entry.event_type.replace("_", " ").capitalize() if tell is None else tell(entry, entry.data or {})


def has_failed(entry: HistoryEntry) -> bool:
    """Return True if the entry reports an error."""
    return "error" in (entry.data or {}) or entry.event_type in ("job_failed", "job_error", "webhook_failed")


def _task(entry: HistoryEntry) -> str:
    branch = branch_of(entry.task_id or "")
    return f"Branch {branch}" if branch else "The task"


def _attempt(entry: HistoryEntry) -> str:
    return f", attempt {entry.attempt}" if (entry.attempt or 1) > 1 else ""


def _error(data: _Data) -> str:
    error = data.get("error")
    if not isinstance(error, Mapping):
        return ""
    return ": " + " – ".join(str(error[name]) for name in ("code", "message") if error.get(name))


def _next(data: _Data) -> str:
    return f"; next state: {data['go_to']}" if data.get("go_to") else ""


def _worker(entry: HistoryEntry) -> str:
    return f" on {entry.worker_id}" if entry.worker_id else ""


def _lasted(entry: HistoryEntry) -> str:
    return "" if entry.duration_ms is None else f" after {span(entry.duration_ms)}"


def _created(entry: HistoryEntry, data: _Data) -> str:
    return f"Created by {data['client']}" if data.get("client") else "Created"


def _entered(entry: HistoryEntry, data: _Data) -> str:
    return f"Entered state {entry.state}{_next(data)}"


def _dispatched(entry: HistoryEntry, data: _Data) -> str:
    what = f" {data['task_type']!r}" if data.get("task_type") else ""
    branch = branch_of(entry.task_id or "")
    return f"Task{what}{f' (branch {branch})' if branch else ''} queued{_attempt(entry)}"


def _routed(entry: HistoryEntry, data: _Data) -> str:
    return f"{_task(entry)} was assigned to {entry.worker_id}"


def _unplaced(entry: HistoryEntry, data: _Data) -> str:
    return f"{_task(entry)} waits: no worker fits"


def _taken(entry: HistoryEntry, data: _Data) -> str:
    return f"{_task(entry)} started{_worker(entry)}{_attempt(entry)}"


def _succeeded(entry: HistoryEntry, data: _Data) -> str:
    outcome = data.get("outcome", "success")
    return f"{_task(entry)} ended with {outcome!r}{_lasted(entry)}{_worker(entry)}{_next(data)}"


def _task_failed(entry: HistoryEntry, data: _Data) -> str:
    return f"{_task(entry)} failed{_lasted(entry)}{_worker(entry)}{_attempt(entry)}{_error(data)}{_next(data)}"


def _timed_out(entry: HistoryEntry, data: _Data) -> str:
    return f"{_task(entry)} exceeded its time limit{_attempt(entry)}{_error(data)}{_next(data)}"


def _retried(entry: HistoryEntry, data: _Data) -> str:
    delay = data.get("delay_seconds")
    when = f" in {span(delay * 1000)}" if isinstance(delay, int | float) and delay else ""
    return f"{_task(entry)} is retried{when}{_attempt(entry)}"


def _handler_failed(entry: HistoryEntry, data: _Data) -> str:
    return f"The handler of {entry.state} failed{_error(data)}"


def _timer_set(entry: HistoryEntry, data: _Data) -> str:
    return f"Waits for a time, then continues in {data.get('then')}"


def _asked(entry: HistoryEntry, data: _Data) -> str:
    return f"Asked for a decision: {data.get('message', '')}"


def _decided(entry: HistoryEntry, data: _Data) -> str:
    comment = f": {data['comment']}" if data.get("comment") else ""
    return f"{data.get('by', 'Somebody')} decided {data.get('decision')!r}{comment}{_next(data)}"


def _child_started(entry: HistoryEntry, data: _Data) -> str:
    return f"Started child job {data.get('child_id', data.get('job_id', ''))}"


def _child_finished(entry: HistoryEntry, data: _Data) -> str:
    return f"The child job {data.get('status', 'ended')}{_error(data)}{_next(data)}"


def _ended(word: str) -> Callable[[HistoryEntry, _Data], str]:
    def tell(entry: HistoryEntry, data: _Data) -> str:
        by = f" by {data['by']}" if data.get("by") else ""
        return f"{word}{by}{_error(data)}"

    return tell


_SENTENCES: Mapping[str, Callable[[HistoryEntry, _Data], str]] = {
    "job_created": _created,
    "state_entered": _entered,
    "task_dispatched": _dispatched,
    "task_routed": _routed,
    "task_rerouted": _routed,
    "task_waiting": _unplaced,
    "task_taken": _taken,
    "task_succeeded": _succeeded,
    "branch_finished": _succeeded,
    "task_failed": _task_failed,
    "task_timed_out": _timed_out,
    "task_retried": _retried,
    "handler_failed": _handler_failed,
    "timer_set": _timer_set,
    "approval_requested": _asked,
    "decision_made": _decided,
    "child_started": _child_started,
    "child_finished": _child_finished,
    "job_finished": _ended("The job finished"),
    "job_failed": _ended("The job failed"),
    "job_cancelled": _ended("The job was cancelled"),
    "job_error": _ended("The job ended: its blueprint is faulty"),
    "job_quarantined": _ended("Quarantined"),
    "job_resumed": _ended("Resumed from quarantine"),
}
