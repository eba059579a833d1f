"""History -> the stays of a job in its states: when it came, when and where to it left, what was tried meanwhile.

What a picture shows of one job, and what is reckoned over many, is read from here and from nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from avtomatika.core.job import HistoryEntry, RecordedEntry

#: How the ends of jobs of other blueprints are called among the transitions of who waits for them.
_CHILD_OUTCOMES = {"finished": "success", "failed": "failure", "error": "failure", "cancelled": "cancelled"}
#: A task, or a branch, has come to an end.
_ATTEMPTS = frozenset({"task_succeeded", "task_failed", "task_timed_out", "branch_finished"})
#: A branch has come to an end, where nothing leads on from it.
_BRANCH_ENDS = frozenset({"branch_finished", "task_timed_out"})
#: The job rests, or is over.
_STOPS = frozenset({"job_finished", "job_failed", "job_cancelled", "job_error", "job_quarantined"})


@dataclass(frozen=True, slots=True)
class Visit:
    """One stay of a job in *state*; times in ms since the epoch, *left_ms* None while it lasts.

    *target* is where it went, None where it went nowhere (yet); *outcome* the word that led there, None for ``go_to``
    and ``wait``. *attempts* are those that ended meanwhile, *failures* those of them that failed; *branches* how many
    of a fan-out have ended.
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
        """How long it was; None while it lasts."""
        return None if self.left_ms is None else self.left_ms - self.entered_ms


def visits_in(entries: Iterable[RecordedEntry]) -> list[Visit]:
    """The stays that *entries*, a whole history with the oldest first, tell of."""
    found: list[Visit] = []
    for recorded in entries:
        entry, now = recorded.entry, recorded.timestamp_ms
        if entry.event_type == "state_entered" and entry.state is not None:
            found.append(Visit(entry.state, now))
        if found and found[-1].left_ms is None:
            found[-1] = _after(found[-1], entry, now)
    return found


def _after(visit: Visit, entry: HistoryEntry, now: int) -> Visit:
    """*visit* once *entry* has happened in it."""
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
    if target is not None:
        return replace(visit, left_ms=now, target=str(target), outcome=_outcome(entry))
    if entry.event_type in _STOPS:
        return replace(visit, left_ms=now)
    return visit


def _outcome(entry: HistoryEntry) -> str | None:
    """The word by which *entry* leads on."""
    data = entry.data or {}
    match entry.event_type:
        case "task_timed_out":
            return "timeout"
        case "timer_fired":
            return "timeout" if "error" in data else None
        case "branches_joined":
            return "success"
        case "child_finished":
            return _CHILD_OUTCOMES.get(str(data.get("status")), "failure")
        case _:
            word = data.get("outcome", data.get("decision"))
            return None if word is None else str(word)
