"""The history of a job in words: one sentence for each entry."""

from collections.abc import Mapping
from typing import Any

from avtomatika.core.graph.style import span
from avtomatika.core.job import HistoryEntry, branch_of

_ENDED = "{task} ended with {outcome!r}{lasted}{on_worker}{next}"

#: Sentences by type; their words are those of :func:`_words`.
_SENTENCES: Mapping[str, str] = {
    "job_created": "Created{by_client}",
    "state_entered": "Entered state {state}{next}",
    "task_dispatched": "Task{task_type}{of_branch} queued{attempt}",
    "task_routed": "{task} was assigned to {worker}",
    "task_rerouted": "{task} was assigned to {worker}",
    "task_waiting": "{task} waits: no worker fits",
    "task_taken": "{task} started{on_worker}{attempt}",
    "task_succeeded": _ENDED,
    "branch_finished": _ENDED,
    "branch_kept": "{task} keeps its result of the earlier try",
    "task_failed": "{task} failed{lasted}{on_worker}{attempt}{error}{next}",
    "task_timed_out": "{task} exceeded its time limit{attempt}{error}{next}",
    "task_retried": "{task} is retried{delay}{attempt}",
    "handler_failed": "The handler of {state} failed{error}",
    "timer_set": "Waits for a time, then continues in {then}",
    "approval_requested": "Asked for a decision: {message}",
    "decision_made": "{person} decided {decision!r}{comment}{next}",
    "signal_awaited": "Waits for the signal {signal!r}",
    "signal_received": "{person} sent the signal {name!r}",
    "signal_taken": "Continued with the signal {name!r}{next}",
    "signal_rejected": "Dropped the signal {name!r}{error}",
    "branches_joined": "All branches have ended{failed}{error}{next}",
    "child_started": "Started child job {child_id}{of_branch}",
    "child_finished": "The child job {status}{error}{next}",
    "job_finished": "The job finished{by}{error}",
    "job_failed": "The job failed{by}{error}",
    "job_cancelled": "The job was cancelled{by}{error}",
    "job_error": "The job ended: its blueprint is faulty{by}{error}",
    "job_quarantined": "Quarantined{by}{error}",
    "job_resumed": "Resumed from quarantine{by}{error}",
}


def narrate(entry: HistoryEntry) -> str:
    """Return what happened, without a full stop; for entries of an unknown type their name."""
    sentence = _SENTENCES.get(entry.event_type)
    if sentence is None:
        return entry.event_type.replace("_", " ").capitalize()
    return sentence.format_map(_words(entry, entry.data or {}))


def has_failed(entry: HistoryEntry) -> bool:
    """Return True if the entry reports an error."""
    return "error" in (entry.data or {}) or entry.event_type in ("job_failed", "job_error", "webhook_failed")


def _words(entry: HistoryEntry, data: Mapping[str, Any]) -> dict[str, object]:
    """Return the words that sentences may use: those of *data*, and phrases, empty without their value."""

    def phrase(text: str, value: object) -> str:
        return text.format(value) if value else ""

    branch, delay, error = branch_of(entry.task_id or ""), data.get("delay_seconds"), data.get("error")
    reasons = (
        [str(error[name]) for name in ("code", "message") if error.get(name)] if isinstance(error, Mapping) else []
    )
    return {
        "outcome": "success",
        "decision": None,
        "signal": None,
        "name": None,
        "then": None,
        "message": "",
        "child_id": "",
        "status": "ended",
        **data,
        "state": entry.state,
        "worker": entry.worker_id,
        "task": f"Branch {branch}" if branch else "The task",
        "task_type": phrase(" {!r}", data.get("task_type")),
        "failed": phrase(", {} of them failed", data.get("failed")),
        "of_branch": phrase(" (branch {})", branch),
        "attempt": phrase(", attempt {}", entry.attempt if (entry.attempt or 1) > 1 else None),
        "on_worker": phrase(" on {}", entry.worker_id),
        "lasted": "" if entry.duration_ms is None else f" after {span(entry.duration_ms)}",
        "delay": f" in {span(delay * 1000)}" if isinstance(delay, int | float) and delay else "",
        "person": data.get("by", "Somebody"),
        "by": phrase(" by {}", data.get("by")),
        "by_client": phrase(" by {}", data.get("client")),
        "comment": phrase(": {}", data.get("comment")),
        "error": phrase(": {}", " – ".join(reasons)),
        "next": phrase("; next state: {}", data.get("go_to")),
    }
