"""Reads the traffic of a blueprint: the states of open jobs, queue depths, and histories of ended jobs.

Nothing is counted at commits, which therefore cost no more. It is read on demand, in two round trips whose size does
not depend on the number of jobs, and cached for some seconds.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from threading import Lock
from time import monotonic
from typing import Any

from avtomatika.core.graph.traffic import Depth, LiveTraffic, RunningJob, Traffic
from avtomatika.core.job import JobStatus, RecordedEntry
from avtomatika.core.plan import Plan
from avtomatika.transport import Reading, RedisClient, Router, none_refused, together

from .entries import load_entry
from .job_list import JobLists
from .plans import Plans
from .queues import read_queues, shard_inspectors
from .records import JobFilter, load_job

#: Lifetime of a cached result.
_FRESH_SECONDS = 5.0
#: Number of the newest ended jobs that are read, and of entries of each history.
_SAMPLE = 200
_LONGEST_HISTORY = 1000
#: Number of the newest open jobs that are read; more are counted.
_RUNNING = 100
_ENDED = tuple(status for status in JobStatus if status.is_final)
_OPEN = tuple(status for status in JobStatus if not status.is_final)


class TrafficRecords(JobLists):
    """Traffic of the jobs and queues of one server. Thread-safe."""

    def __init__(self, server: RedisClient, router: Router) -> None:
        super().__init__(server)
        self._inspectors = shard_inspectors(server, router)
        self._cached: dict[str, tuple[float, LiveTraffic]] = {}
        self._lock = Lock()

    def of(self, plan: Plan, *, max_age_seconds: float | None = None) -> LiveTraffic:
        """Return the traffic of the blueprint of *plan*, by default at most a few seconds old. Raises
        UnavailableError."""
        fresh_seconds = _FRESH_SECONDS if max_age_seconds is None else max_age_seconds
        with self._lock:
            known = self._cached.get(plan.plan_hash)
            if known is None or monotonic() - known[0] > fresh_seconds:
                known = self._cached[plan.plan_hash] = (monotonic(), self.read_together(self._read_traffic(plan))[0])
            return known[1]

    def _read_traffic(self, plan: Plan) -> Reading[LiveTraffic]:
        open_jobs = JobFilter(blueprint=plan.blueprint, status=_OPEN, limit=_RUNNING)
        readings: Sequence[Reading[Any]] = (
            self.read_states(open_jobs),
            self._read_list(open_jobs),
            self._read_histories(plan.blueprint),
            read_queues(self._inspectors, [*plan.queues, *plan.task_types]),
            self._read_clock(),
            Plans(self._server).read_announcements(),
        )
        (counts, is_exact), (rows, _), histories, stats, now_ms, announced = yield from together(*readings)
        states, plans = Counter[str](), Counter[str]()
        for (plan_hash, state), number in counts.items():
            states[state] += number
            plans[plan_hash] += number
        depths = {each.name: Depth(each.waiting, each.held) for each in stats}
        return LiveTraffic(
            traffic=Traffic.of(plan, histories, jobs=states, depths=depths),
            running=[
                RunningJob(job.id, job.status, str(job.current_state), job.updated_ms)
                for job_id, row in rows.items()
                if (job := load_job(job_id, row)) is not None
            ],
            count=states.total(),
            now_ms=now_ms,
            plans=plans,
            is_exact=is_exact,
            silent_ms=announced.silent_ms,
        )

    def _read_histories(self, blueprint: str) -> Reading[Iterable[Sequence[RecordedEntry]]]:
        """Read the histories of the newest ended jobs."""
        rows, _ = yield from self._read_list(JobFilter(blueprint=blueprint, status=_ENDED, limit=_SAMPLE), ("final",))
        commands = [("LRANGE", self._keys.of(job_id).history(job_id), 0, _LONGEST_HISTORY - 1) for job_id in rows]
        replies = none_refused((yield commands))
        return [[load_entry(seq, row) for seq, row in enumerate(reply, start=1)] for reply in replies]
