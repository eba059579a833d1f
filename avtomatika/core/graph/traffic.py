"""Traffic of a blueprint as an overlay: jobs per state, durations of transitions, expected ends of jobs.

Computed from the histories of ended jobs; the caller chooses how many.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from avtomatika.core.job import JobStatus, RecordedEntry
from avtomatika.core.plan import Plan, StatePlan

from .dot import Added, DrawnEdge
from .job_path import EdgeNames
from .style import PALE, span
from .visits import Visit, visits_in

#: (source, target, outcome)
EdgeName = tuple[str, str, str | None]

_BUSY = {"penwidth": "2.5"}
#: Line width of an edge that all jobs take; others are thinner in proportion.
_WIDEST = 4.0


@dataclass(frozen=True, slots=True)
class EdgeFigures:
    """How often a transition was taken, and its share of all from its state. Half of the visits took at most *p50_ms*,
    95 % at most *p95_ms*; *failure_share* of the attempts failed."""

    count: int
    share: float
    p50_ms: int
    p95_ms: int
    failure_share: float


@dataclass(frozen=True, slots=True)
class Depth:
    """Messages of a queue that wait, and messages that are leased."""

    waiting: int = 0
    in_flight: int = 0


@dataclass(frozen=True)
class Traffic:
    """Figures of *plan* from *sampled* ended jobs.

    *jobs* counts open jobs by state, the newest if they exceed the limit; *depths* are of step queues by name and of
    task queues by task type. *left_ms* has, by state, the sorted remaining times of finished jobs, *stayed_ms* the
    sorted durations of visits.
    """

    plan: Plan
    sampled: int
    edges: Mapping[EdgeName, EdgeFigures]
    left_ms: Mapping[str, Sequence[int]]
    stayed_ms: Mapping[str, Sequence[int]] = field(default_factory=dict)
    jobs: Mapping[str, int] = field(default_factory=dict)
    depths: Mapping[str, Depth] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        plan: Plan,
        histories: Iterable[Sequence[RecordedEntry]],
        *,
        jobs: Mapping[str, int] | None = None,
        depths: Mapping[str, Depth] | None = None,
    ) -> "Traffic":
        """Compute the figures from whole *histories* of ended jobs."""
        taken: dict[EdgeName, list[Visit]] = {}
        left_ms: dict[str, list[int]] = {}
        stayed_ms: dict[str, list[int]] = {}
        names, sampled = EdgeNames(plan), 0
        for history in histories:
            sampled += 1
            visits = visits_in(history)
            for visit in visits:
                stayed_ms.setdefault(visit.state, []).append(visit.duration_ms or 0)
                if (name := names.of(visit)) is not None:
                    taken.setdefault(name, []).append(visit)
            if history and history[-1].entry.event_type == "job_finished":
                for visit in visits:
                    left_ms.setdefault(visit.state, []).append(history[-1].timestamp_ms - visit.entered_ms)
        return cls(
            plan,
            sampled,
            _figures(taken),
            {state: sorted(times) for state, times in left_ms.items()},
            {state: sorted(times) for state, times in stayed_ms.items()},
            jobs or {},
            depths or {},
        )

    def left_for(self, state: str, waited_ms: int) -> int | None:
        """Return the median remaining time of jobs that have been in *state* for at least *waited_ms*; None without
        data."""
        longer = [each for each in self.left_ms.get(state, ()) if each > waited_ms]
        return percentile(longer, 0.5) - waited_ms if longer else None

    # ------------------------------------------------------------ overlay

    @property
    def title(self) -> Sequence[str]:
        return (f"{sum(self.jobs.values())} jobs, figures of the last {self.sampled} that are over",)

    def state(self, state: StatePlan) -> Added:
        jobs = self.jobs.get(state.name, 0)
        return Added(tuple(self._lines(state, jobs)), _BUSY if jobs else {})

    def edge(self, edge: DrawnEdge) -> Added:
        figures = self.edges.get((edge.source, edge.target, edge.outcome))
        if figures is None:
            return Added(style={"color": PALE, "fontcolor": PALE} if self.sampled else {})
        lines = [f"{figures.share:.0%} of {self._left(edge.source)}"] if figures.share < 1 else []
        if figures.p95_ms:
            lines.append(f"p50 {span(figures.p50_ms)}, p95 {span(figures.p95_ms)}")
        if figures.failure_share:
            lines.append(f"{figures.failure_share:.0%} of attempts fail")
        return Added(lines, {"penwidth": f"{max(_WIDEST * figures.share, 1):.1f}"})

    def _lines(self, state: StatePlan, jobs: int) -> Iterable[str]:
        if jobs:
            yield "1 job" if jobs == 1 else f"{jobs} jobs"
        for task_type in state.task_types:
            depth = self.depths.get(task_type, Depth())
            if depth.waiting or depth.in_flight:
                yield f"{task_type}: {depth.waiting} waiting, {depth.in_flight} in flight"

    def _left(self, state: str) -> int:
        """Return how many jobs of the sample have left *state*."""
        return sum(figures.count for (source, _, _), figures in self.edges.items() if source == state)


@dataclass(frozen=True, slots=True)
class RunningJob:
    """An open job: its state, and the time of its last step in ms."""

    job_id: str
    status: str
    state: str
    since_ms: int


@dataclass(frozen=True, slots=True)
class LiveTraffic:
    """*running* are the newest of *count* open jobs, or of more if not *is_exact*. *plans* counts them by plan hash.

    *silent_ms* is the time since an orchestrator announced a plan, by ``plan_name``. *now_ms* is the server's time.
    """

    traffic: Traffic
    running: Sequence[RunningJob]
    count: int
    now_ms: int
    plans: Mapping[str, int] = field(default_factory=dict)
    is_exact: bool = True
    silent_ms: Mapping[str, int] = field(default_factory=dict)

    def expected_end_ms(self, job: RunningJob) -> int | None:
        """Return the expected end of *job*; None without data, or if it is quarantined."""
        if job.status == JobStatus.QUARANTINED:
            return None
        left_ms = self.traffic.left_for(job.state, max(self.now_ms - job.since_ms, 0))
        return None if left_ms is None else self.now_ms + left_ms


def percentile(values: Sequence[int], share: float) -> int:
    """Return the smallest of *values* (sorted, not empty) that at least *share* of them do not exceed.

    >>> percentile([10, 20, 30, 40], 0.5), percentile([10, 20, 30, 40], 0.95)
    (20, 40)
    """
    return values[max(ceil(share * len(values)) - 1, 0)]


def _figures(taken: Mapping[EdgeName, Sequence[Visit]]) -> dict[EdgeName, EdgeFigures]:
    left = Counter({state: 0 for state, _, _ in taken})
    for (state, _, _), visits in taken.items():
        left[state] += len(visits)
    found = {}
    for name, visits in taken.items():
        times = sorted(visit.duration_ms or 0 for visit in visits)
        attempts = sum(visit.attempts for visit in visits)
        failures = sum(visit.failures for visit in visits)
        found[name] = EdgeFigures(
            count=len(visits),
            share=len(visits) / left[name[0]],
            p50_ms=percentile(times, 0.5),
            p95_ms=percentile(times, 0.95),
            failure_share=failures / attempts if attempts else 0.0,
        )
    return found
