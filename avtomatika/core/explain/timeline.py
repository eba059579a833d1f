"""The time of a job as bars: a row for each visit to a state and each branch, with what happened in it and how long."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from avtomatika.core.job import HistoryEntry, RecordedEntry, branch_of

#: Rows that are kept: a fan-out may have a hundred thousand branches.
MOST_ROWS = 100
#: Entries that begin a wait of the job, and those that end it.
_WAITS = dict.fromkeys(("timer_set", "signal_awaited", "child_started"), "waiting") | {"approval_requested": "asking"}
_WAIT_ENDS = frozenset({"timer_fired", "decision_made", "signal_taken", "child_finished"})
#: Entries that end an attempt of a task -> what its bar becomes.
_ATTEMPT_ENDS = dict.fromkeys(("task_succeeded", "branch_finished"), "done")
_ATTEMPT_ENDS |= dict.fromkeys(("task_failed", "task_timed_out"), "failed")
_JOB_ENDS = frozenset({"job_finished", "job_failed", "job_cancelled", "job_error", "job_quarantined"})


@dataclass(slots=True)
class Bar:
    """A time from *start_ms* to *end_ms* (None while it lasts): ``queued``, ``running``, ``done``, ``failed``,
    ``waiting`` or ``asking``; *text* names worker and attempt."""

    kind: str
    start_ms: int
    end_ms: int | None = None
    text: str = ""


@dataclass(slots=True)
class Row:
    """A visit to a state, or a branch of a fan-out (*is_branch*)."""

    label: str
    is_branch: bool = False
    bars: list[Bar] = field(default_factory=list)

    @property
    def start_ms(self) -> int:
        return self.bars[0].start_ms if self.bars else 0


@dataclass(slots=True)
class Timeline:
    """The *rows* of a job in their order; *omitted* branches have none."""

    start_ms: int
    end_ms: int
    rows: list[Row] = field(default_factory=list)
    omitted: int = 0


def timeline(entries: Iterable[RecordedEntry], *, now_ms: int, has_ended: bool) -> Timeline:
    """Return the timeline of a job from its history, oldest entry first; bars of an open job last until *now_ms*."""
    drawing = _Drawing()
    for recorded in entries:
        drawing.add(recorded.entry, recorded.timestamp_ms)
    end_ms = drawing.last_ms if has_ended else max(now_ms, drawing.last_ms)
    rows = [row for row in drawing.rows if row.bars]
    for bar in (bar for row in rows for bar in row.bars if bar.end_ms is None):
        bar.end_ms = end_ms
    return Timeline(drawing.first_ms, end_ms, rows, drawing.omitted)


class _Drawing:
    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.omitted = 0
        self.first_ms = 0
        self.last_ms = 0
        self._state: Row | None = None
        self._branches: dict[str, Row] = {}

    def add(self, entry: HistoryEntry, at_ms: int) -> None:
        self.first_ms, self.last_ms = self.first_ms or at_ms, max(self.last_ms, at_ms)
        kind = entry.event_type
        if kind == "job_created" or (kind == "state_entered" and entry.state is not None):
            self._enter(entry.state or "", at_ms, is_created=kind == "job_created")
        elif kind in _JOB_ENDS:
            for row in self.rows:
                _close(row, at_ms)
        elif kind in _WAITS and entry.task_id is None:
            self._begin(self._state, _WAITS[kind], at_ms)
        elif kind in _WAIT_ENDS:
            _close(self._state, at_ms)
        elif entry.task_id is not None:
            self._task(entry, entry.task_id, at_ms)

    def _enter(self, state: str, at_ms: int, *, is_created: bool) -> None:
        if is_created:
            self._state = self._new_row(Row(state))
            self._begin(self._state, "queued", at_ms)
            return
        _close(self._state, at_ms)
        row = self._state
        if row is None or row.label != state or len(self.rows) > 1 or row.bars[0].kind != "queued":
            row = self._state = self._new_row(Row(state))
        row.bars.append(Bar("done", at_ms, at_ms, "handler"))  # it has run when its state is entered

    def _task(self, entry: HistoryEntry, task_id: str, at_ms: int) -> None:
        row = self._row_of(entry, task_id)
        if row is None:
            return
        attempt = f"attempt {entry.attempt}" if entry.attempt else ""
        kind = entry.event_type
        if kind == "child_started":
            self._begin(row, "waiting", at_ms, (entry.data or {}).get("child_id", ""))
        elif kind in ("task_dispatched", "task_routed", "task_waiting", "task_rerouted"):
            if not row.bars or row.bars[-1].end_ms is not None or row.bars[-1].kind != "queued":
                self._begin(row, "queued", at_ms, attempt)
        elif kind == "task_taken":
            self._begin(row, "running", at_ms, ", ".join(filter(None, [attempt, entry.worker_id])))
        elif kind == "task_retried":
            self._begin(row, "waiting", at_ms, f"back-off before {attempt}")
        elif kind in _ATTEMPT_ENDS:
            has_failed = "error" in (entry.data or {})
            if row.bars and row.bars[-1].end_ms is None:
                row.bars[-1].kind = "failed" if has_failed else _ATTEMPT_ENDS[kind]
            _close(row, at_ms)

    def _row_of(self, entry: HistoryEntry, task_id: str) -> Row | None:
        """Return the row of a task: that of its state, or its own one for a branch; None if there are too many."""
        if not branch_of(task_id):
            return self._state
        if task_id not in self._branches:
            if len(self.rows) >= MOST_ROWS:
                self.omitted += entry.event_type in ("task_dispatched", "child_started")
                return None
            name = (entry.data or {}).get("task_type") or (entry.data or {}).get("blueprint") or "task"
            self._branches[task_id] = self._new_row(Row(f"{name} {branch_of(task_id)}", is_branch=True))
        return self._branches[task_id]

    def _new_row(self, row: Row) -> Row:
        if len(self.rows) < MOST_ROWS:
            self.rows.append(row)
        return row

    def _begin(self, row: Row | None, kind: str, at_ms: int, text: str = "") -> None:
        _close(row, at_ms)
        if row is not None:
            row.bars.append(Bar(kind, at_ms, text=text))


def _close(row: Row | None, at_ms: int) -> None:
    if row is not None and row.bars and row.bars[-1].end_ms is None:
        row.bars[-1].end_ms = at_ms
