"""Visits of a job to its states, from its history: start, end, target, and attempts in between."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from avtomatika.core.job import HistoryEntry, JobStatus, RecordedEntry

#: Entries that end an attempt of a task or a branch.
_ATTEMPTS = frozenset({"task_succeeded", "task_failed", "task_timed_out", "branch_finished"})
#: Entries that end a branch, if they have no target.
_BRANCH_ENDS = frozenset({"branch_finished", "task_timed_out"})
#: Entries that quarantine or end the job.
_STOPS = frozenset({"job_finished", "job_failed", "job_cancelled", "job_error", "job_quarantined"})


@dataclass(frozen=True, slots=True)
class Visit:
    """A visit of a job to *state*; times in ms since the epoch, *left_ms* is None while it lasts.

    *target* is the next state, None if there is none (yet); *outcome* led there, None for ``go_to`` and ``wait``.
    *attempts* ended during the visit, *failures* of them failed; *branches* of a fan-out have ended.
    """

    state: str
    entered_ms: int
    left_ms: int | None = None
    target: str | None = None
    outcome: str | None = None
    attempts: int = 0
    failures: int = 0
    branches: int = 0

    @property
    def duration_ms(self) -> int | None:
        """The duration, None while it lasts."""
        return None if self.left_ms is None else self.left_ms - self.entered_ms


def visits_in(entries: Iterable[RecordedEntry]) -> list[Visit]:
    """Return the visits in *entries*, a whole history with the oldest first."""
    found: list[Visit] = []
    for recorded in entries:
        entry, now = recorded.entry, recorded.timestamp_ms
        if entry.event_type == "state_entered" and entry.state is not None:
            found.append(Visit(entry.state, now))
        if found and found[-1].left_ms is None:
            found[-1] = _after(found[-1], entry, now)
    return found


def _after(visit: Visit, entry: HistoryEntry, now: int) -> Visit:
    """Return *visit* after *entry*."""
    data = entry.data or {}
    target = data.get("go_to")
    if entry.event_type in _ATTEMPTS:
        has_failed = entry.event_type in ("task_failed", "task_timed_out") or "error" in data
        is_branch = target is None and entry.event_type in _BRANCH_ENDS
        visit = replace(
            visit,
            attempts=visit.attempts + 1,
            failures=visit.failures + has_failed,
            branches=visit.branches + is_branch,
        )
    elif entry.event_type == "branch_kept":
        visit = replace(visit, branches=visit.branches + 1)
    if target is not None:
        return replace(visit, left_ms=now, target=str(target), outcome=_outcome(entry))
    if entry.event_type in _STOPS:
        return replace(visit, left_ms=now)
    return visit


def _outcome(entry: HistoryEntry) -> str | None:
    """Return the outcome by which *entry* continues."""
    data = entry.data or {}
    match entry.event_type:
        case "task_timed_out":
            return "timeout"
        case "timer_fired":
            return "timeout" if "error" in data else None
        case "branches_joined":
            return "failure" if "error" in data else "success"
        case "child_finished":
            return JobStatus(data["status"]).outcome
        case _:
            word = data.get("outcome", data.get("decision"))
            return None if word is None else str(word)
