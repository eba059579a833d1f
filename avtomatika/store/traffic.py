"""Reads the traffic of a blueprint: the states of running jobs, queue depths, and histories of finished jobs.

Nothing is counted at commits, which therefore cost no more. It is read on demand and cached for some seconds.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from threading import Lock
from time import monotonic

from avtomatika.core.graph.traffic import Depth, LiveTraffic, RunningJob, Traffic
from avtomatika.core.job import JobStatus, RecordedEntry
from avtomatika.core.plan import Plan
from avtomatika.transport import RedisClient, Router, Topology
from avtomatika.transport.scripts import Call

from .entries import load_entry
from .records import json_object, number
from .scripts import RUNNING_JOBS, server_errors
from .server_part import ServerPart

#: Lifetime of a cached result.
_FRESH_SECONDS = 5.0
#: Number of the newest finished jobs that are read, and of entries of each history.
_SAMPLE = 200
_LONGEST_HISTORY = 1000
#: Maximum running jobs read.
_MOST_RUNNING = 10_000
#: Number of the newest jobs that are searched for finished ones, and of those per round trip.
_NEWEST, _PAGE = 5000, 1000
_PIPELINE = 500


class TrafficRecords(ServerPart):
    """Traffic of the jobs and queues of one server. Thread-safe."""

    def __init__(self, server: RedisClient, router: Router) -> None:
        super().__init__(server)
        self._topology = Topology(server, router)
        self._cached: dict[str, tuple[float, LiveTraffic]] = {}
        self._lock = Lock()

    def of(self, plan: Plan) -> LiveTraffic:
        """Return the traffic of the blueprint of *plan*, at most a few seconds old. Raises UnavailableError."""
        with self._lock:
            known = self._cached.get(plan.plan_hash)
            if known is None or monotonic() - known[0] > _FRESH_SECONDS:
                known = self._cached[plan.plan_hash] = (monotonic(), self._look(plan))
            return known[1]

    def _look(self, plan: Plan) -> LiveTraffic:
        count, running = self._running(plan.blueprint)
        traffic = Traffic.of(
            plan,
            self._histories(plan.blueprint),
            jobs=Counter(job.state for job in running),
            depths=self._depths([*plan.queues, *plan.task_types]),
        )
        return LiveTraffic(traffic, running, count, self._now_ms())

    def _running(self, blueprint: str) -> tuple[int, list[RunningJob]]:
        statuses = [self._keys.by_status(status) for status in JobStatus if not status.is_final]
        call = Call(RUNNING_JOBS, [self._keys.by_blueprint(blueprint), *statuses], [_MOST_RUNNING])
        count, job_ids = self._run(call)
        found = []
        for page in _pages([job_id.decode() for job_id in job_ids], _PIPELINE):
            commands = [("HMGET", self._keys.job(job_id), "status", "doc", "updated") for job_id in page]
            for job_id, (status, doc, updated) in zip(page, self._read(commands), strict=True):
                if doc is not None and status is not None:
                    state = str(json_object(doc).get("state"))
                    found.append(RunningJob(job_id, status.decode(), state, number(updated)))
        return int(count), sorted(found, key=lambda job: job.job_id, reverse=True)

    def _histories(self, blueprint: str) -> Iterator[list[RecordedEntry]]:
        left = _SAMPLE
        for first in range(0, _NEWEST, _PAGE):
            newest = ("ZRANGE", self._keys.by_blueprint(blueprint), first, first + _PAGE - 1, "REV")
            job_ids = [job_id.decode() for job_id in self._read([newest])[0]]
            finals = self._read([("HGET", self._keys.job(job_id), "final") for job_id in job_ids])
            over = [job_id for job_id, final in zip(job_ids, finals, strict=True) if final == b"1"][:left]
            left -= len(over)
            for page in _pages(over, _PIPELINE):
                commands = [("LRANGE", self._keys.history(job_id), 0, _LONGEST_HISTORY - 1) for job_id in page]
                for rows in self._read(commands):
                    yield [load_entry(seq, row) for seq, row in enumerate(rows, start=1)]
            if not left or len(job_ids) < _PAGE:
                return

    def _depths(self, queues: Sequence[str]) -> dict[str, Depth]:
        with server_errors():
            waiting = {queue: self._topology.size(queue) for queue in queues}
            sizes = self._topology.sizes(queues)
        return {queue: Depth(waiting[queue], max(sizes[queue] - waiting[queue], 0)) for queue in queues}


def _pages(values: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for first in range(0, len(values), size):
        yield values[first : first + size]
