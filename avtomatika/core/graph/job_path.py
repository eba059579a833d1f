"""The path of one job as an overlay: visited states with counts and durations, and the current state."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

from avtomatika.core.job import Job, JobStatus, RecordedEntry
from avtomatika.core.plan import Plan, StatePlan

from .dot import Added, DrawnEdge, edges_of
from .style import PALE, span
from .visits import Visit, visits_in

_PRESENT = {"fillcolor": "#fde68a", "penwidth": "3"}
_TROUBLED = {"fillcolor": "#fecaca", "penwidth": "3"}
_ENTERED = {"penwidth": "2.5"}
_NOT_ENTERED = {"fillcolor": "white", "color": PALE, "fontcolor": PALE}
_NOT_TAKEN = {"color": PALE, "fontcolor": PALE}


@dataclass(frozen=True)
class JobPath:
    """The *visits* of *job* to its states, in order; *now_ms* is the end of the current visit."""

    job: Job
    visits: tuple[Visit, ...]
    now_ms: int | None = None
    #: (source, target, outcome) of every edge that the job went along, as the plan calls it, and the stay before.
    taken: tuple[tuple[tuple[str, str, str | None], Visit], ...] = field(default=())

    @classmethod
    def of(cls, plan: Plan, job: Job, entries: Iterable[RecordedEntry], *, now_ms: int | None = None) -> Self:
        """Return the path of *job* from its whole history, oldest entry first."""
        visits = tuple(visits_in(entries))
        named = EdgeNames(plan)
        taken = tuple((edge, visit) for visit in visits if (edge := named.of(visit)) is not None)
        return cls(job, visits, now_ms, taken)

    @property
    def present(self) -> str | None:
        """The state that the job is in, is about to enter, or ended in."""
        return self.job.current_state

    @property
    def states(self) -> tuple[str, ...]:
        """The states that it entered and, where it is not the last of them, the present one."""
        entered = tuple(visit.state for visit in self.visits)
        if self.present is None or entered[-1:] == (self.present,):
            return entered
        return (*entered, self.present)

    @property
    def title(self) -> Sequence[str]:
        began, ended = self.job.created_ms, self.job.updated_ms if self.job.status.is_final else self.now_ms
        lasted = f", {span(ended - began)}" if began and ended else ""
        return (self.job.id, f"{self.job.status}{lasted}")

    def spent_ms(self, state: str) -> int | None:
        """Return the total time of the job in *state*; None if it was never there, or the time is unknown."""
        if not (visits := self._by_state.get(state)):
            return None
        ends = [self.now_ms if visit.left_ms is None else visit.left_ms for visit in visits]
        return sum(max(end - visit.entered_ms, 0) for visit, end in zip(visits, ends, strict=True) if end is not None)

    def branches(self, state: str) -> tuple[int, int] | None:
        """Return how many branches of the fan-out of *state* have ended, and their total; None without a fan-out."""
        fan_out = self.job.fan_out
        if fan_out is None or fan_out.state != state or not (visits := self._by_state.get(state)):
            return None
        return visits[-1].branches, fan_out.size

    # ------------------------------------------------------------ overlay

    def state(self, state: StatePlan) -> Added:
        if state.name != self.present and state.name not in self._by_state:
            return Added(style=_NOT_ENTERED)
        return Added(tuple(self._lines(state)), self._style(state))

    def edge(self, edge: DrawnEdge) -> Added:
        name = (edge.source, edge.target, edge.outcome)
        times = [visit.duration_ms or 0 for taken, visit in self.taken if taken == name]
        if not times:
            return Added(style=_NOT_TAKEN)
        if len(self._by_state[edge.source]) == 1:  # the state shows the duration
            return Added(style=_ENTERED)
        return Added((f"{len(times)} times, {span(sum(times))}" if len(times) > 1 else span(times[0]),), _ENTERED)

    def _lines(self, state: StatePlan) -> Iterable[str]:
        visits = self._by_state.get(state.name, [])
        if state.ends_with_task:
            yield f"task: {self.job.skill}"
        if (branches := self.branches(state.name)) is not None:
            yield f"{branches[0]} of {branches[1]} branches"
        if spent := self.spent_ms(state.name):
            failures = sum(visit.failures for visit in visits)
            times = f"{len(visits)} times, " if len(visits) > 1 else ""
            failed = f", {failures} failed" if failures else ""
            yield f"{times}{span(spent)}{failed}"

    def _style(self, state: StatePlan) -> dict[str, str]:
        if state.name != self.present:
            return _ENTERED
        if self.job.status is JobStatus.QUARANTINED:
            return _TROUBLED
        return _ENTERED if self.job.status.is_final and state.end is not None else _PRESENT

    @cached_property
    def _by_state(self) -> dict[str, list[Visit]]:
        found: dict[str, list[Visit]] = {}
        for visit in self.visits:
            found.setdefault(visit.state, []).append(visit)
        return found


class EdgeNames:
    """The edges of a plan, to find the one that a job took."""

    def __init__(self, plan: Plan) -> None:
        self._outcomes: dict[tuple[str, str], list[str | None]] = {}
        for edge in edges_of(plan):
            self._outcomes.setdefault((edge.source, edge.target), []).append(edge.outcome)

    def of(self, visit: Visit) -> tuple[str, str, str | None] | None:
        """Return (source, target, outcome) of the edge that ended *visit*; None if there is none, or the visit is
        current.

        An outcome without a transition took that of another one: a timeout that of ``failure``, for example.
        """
        if visit.target is None or not (outcomes := self._outcomes.get((visit.state, visit.target))):
            return None
        outcome = visit.outcome if visit.outcome in outcomes else outcomes[0]
        if visit.outcome not in outcomes and "failure" in outcomes:
            outcome = "failure"
        return visit.state, visit.target, outcome
