"""Where a rerun or a fork of a job starts: at a point of its history, with the data as they were there. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from typing import Self

from avtomatika.core.frozen import dataclass
from avtomatika.core.job import HistoryEntry, Job, Json, RecordedEntry, branch_of
from avtomatika.core.plan import EndKind, Plan
from avtomatika.errors import ConflictError

from .task_results import merged

#: Entries whose error does not become that of the job; those that lead to a state and do not clear that.
_OTHER_ERRORS = frozenset({"handler_failed", "signal_rejected", "branch_finished", "child_quarantined"})
_NO_SUCCESSES = frozenset({"state_entered", "branches_joined", "timer_fired"})
#: The word for the beginning of a job, for the state in which it failed, and for both instead of a state.
START, FAILED_STATE = "start", "failed_state"


@dataclass(frozen=True, slots=True)
class StartPoint:
    """A job starts in *state*, with the data, the last result and the last error of another job there.

    *kept* are the results of branches that its fan-out does not run again: number -> [digest of the params, result].
    """

    state: str
    state_history: Mapping[str, Json] = field(default_factory=dict)
    result: Json = None
    error: Mapping[str, Json] | None = None
    kept: Mapping[str, Json] = field(default_factory=dict)
    #: The history entry that led there.
    seq: int = field(default=0, compare=False)

    @classmethod
    def of(cls, entry: HistoryEntry) -> Self:
        """Return the point that the first entry of a history records."""
        facts = entry.data or {}
        data, kept = facts.get("state_history", {}), facts.get("branches", {})
        return cls(str(entry.state), data, **facts.get("last", {}), kept=kept, seq=1)

    def facts(self) -> dict[str, Json]:
        """Return what the first entry of the history records, which :meth:`of` reads."""
        last = {name: value for name in ("result", "error") if (value := getattr(self, name)) is not None}
        found = {"state_history": self.state_history, "last": last, "branches": self.kept}
        return {name: value for name, value in found.items() if value}


def start_point(plan: Plan, job: Job, history: Iterable[RecordedEntry], at: str | int = FAILED_STATE) -> StartPoint:
    """Return the point of the whole *history* of *job* at which another job starts: the last visit to the state *at*,
    the visit that the entry number *at* belongs or leads to, or the state in which the job failed or was cancelled.

    If a transition led to a failed end, that is the state of the last error that no success followed, else the last
    state before; results of its branches are kept. An aggregator is replaced by its fan-out with all results. Raises
    ConflictError for a state that the job never entered or the plan does not have, and if the history lacks data.
    """
    walk = _Walk()
    for recorded in history:
        walk.add(recorded.seq, recorded.entry)
    if walk.data != job.state_history:
        raise ConflictError("the history lacks data of the job, so it can only run again from the start")
    if isinstance(at, int):
        point = next((point for seq, point in reversed(walk.points) if seq <= at), None)
        if point is None or at > walk.seq:
            raise ConflictError(f"the history has no entry {at}: it has {walk.seq}")
    elif at != FAILED_STATE:
        point = walk.entered.get(at)
        if point is None:
            raise ConflictError(f"the job never entered the state {at!r}; it entered: {', '.join(walk.entered)}")
    else:
        point = _failed(plan, job, walk)
    if point.state not in plan.states:
        why = ", in which the job failed" if at == FAILED_STATE else ""
        raise ConflictError(f"the blueprint no longer has the state {point.state!r}{why}")
    return point


def divided(
    changes: Mapping[str, Json], initial_data: Mapping[str, Json], state_history: Mapping[str, Json] | None
) -> tuple[dict[str, Json], dict[str, Json]]:
    """Return the *changes* of ``initial_data``, by the keys that only it has, and the other ones, of the data; without
    a *state_history*, at the start, all are changes of ``initial_data``."""
    rest = {} if state_history is None else changes
    other = {name: value for name, value in rest.items() if name not in initial_data or name in (state_history or {})}
    return {name: value for name, value in changes.items() if name not in other}, other


def _failed(plan: Plan, job: Job, walk: "_Walk") -> StartPoint:
    state = str(job.current_state)
    if state in plan.states and plan.states[state].end is EndKind.FAILED:
        state = walk.error_in or walk.left or state
    point = walk.entered.get(state, walk.point(state))
    return point if point.kept else replace(point, kept=walk.branches.get(state, {}))


class _Walk:
    """The state of a job at an entry of its history: data, last result and error, and the earlier visits to states."""

    def __init__(self) -> None:
        self.seq = 0
        self.data: Mapping[str, Json] = {}
        self.points: list[tuple[int, StartPoint]] = []
        self.entered: dict[str, StartPoint] = {}
        #: State of a fan-out -> the results of its last visit, by number as in ``StartPoint.kept``.
        self.branches: dict[str, dict[str, Json]] = {}
        #: The state of the last error that no success followed, and the state before the present one.
        self.error_in: str | None = None
        self.left: str | None = None
        self._result: Json = None
        self._error: Mapping[str, Json] | None = None
        self._kept: Mapping[str, Json] = {}
        self._digests: dict[str, Json] = {}

    def point(self, state: str) -> StartPoint:
        return StartPoint(state, self.data, self._result, self._error, seq=self.seq)

    def add(self, seq: int, entry: HistoryEntry) -> None:
        facts, state = entry.data or {}, str(entry.state)
        self.seq = seq
        if entry.event_type == "job_created":
            point = StartPoint.of(entry)
            self.data, self._result, self._error = point.state_history, point.result, point.error
            self._kept = self.branches[state] = dict(point.kept)
            self._enter(seq, state, self.point(state))
        self._learn(entry.event_type, facts)
        if branch_of(entry.task_id or ""):
            self._add_branch(entry, state, facts)
        if entry.event_type == "state_entered":
            self.branches[state] = {}
        if (target := facts.get("go_to")) is None:
            return
        self.left = state
        if entry.event_type != "state_entered":  # a handler that reacts to an error does not correct it
            self.error_in = state if "error" in facts else None
        point = self.point(target)
        if entry.event_type == "branches_joined" and "error" not in facts:
            point = replace(self.entered.get(state, self.point(state)), kept=self.branches.get(state, {}))
        self._enter(seq, target, point)

    def _enter(self, seq: int, state: str, point: StartPoint) -> None:
        self.points.append((seq, point))
        self.entered[state] = point

    def _add_branch(self, entry: HistoryEntry, state: str, facts: Mapping[str, Json]) -> None:
        number = str(branch_of(entry.task_id or ""))
        kept = self.branches.setdefault(state, {})
        match entry.event_type:
            case "task_dispatched" | "child_started":
                self._digests[number] = facts.get("digest")
            case "branch_kept":
                kept[number] = self._kept.get(number)
            case "branch_finished" if "error" not in facts:
                answer = {"status": facts.get("outcome"), "data": facts.get("data"), "error": None}
                kept[number] = [self._digests.get(number), answer]

    def _learn(self, event_type: str, facts: Mapping[str, Json]) -> None:
        if event_type not in _OTHER_ERRORS and (
            "error" in facts or ("go_to" in facts and event_type not in _NO_SUCCESSES)
        ):
            self._error = facts.get("error")
        match event_type:
            case "state_entered":
                self.data = {**self.data, **facts.get("state_history", {})}
            case "task_succeeded":
                self.data, self._result = merged(self.data, facts.get("data")), facts.get("data")
            case "child_finished":
                self.data = merged(self.data, facts.get("result"))
                self._result = self._result if "error" in facts else facts.get("result")
            case "approved" | "rejected" | "decided":
                approval = {name: value for name, value in facts.items() if name not in ("go_to", "data")}
                decided = {"decision_data": facts["data"]} if "data" in facts else {}
                self.data = {**self.data, "approval": approval, **decided}
            case "signal_taken":
                self.data = {**self.data, "signal_data": facts.get("data")}
