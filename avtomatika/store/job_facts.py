"""Collects the facts that explain why a job does not progress, in a few round trips for a job of any size."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from avtomatika.core.explain.facts import AbleWorker, Facts, LiveState, QueuePlace, StoppedBy
from avtomatika.core.job import HistoryEntry, Job, JobStatus, Task, branch_of, job_of
from avtomatika.core.job_request import WAITING
from avtomatika.core.machine.plan_migration import plan_name
from avtomatika.core.machine.timers import timers_of_job
from avtomatika.core.plan import STEPS
from avtomatika.errors import NoRouteError
from avtomatika.transport import (
    FlowControl,
    Inspector,
    Queued,
    QueueStats,
    Reading,
    RedisClient,
    Router,
    Unacked,
    none_refused,
    together,
)

from . import live_state
from .branches import BranchQuery
from .entries import load_entry
from .limits import limit_values
from .messages import prefix_of, timer_name
from .plans import PlanAnnouncements, Plans
from .records import UnreadableJob, load_job
from .scripts import server_errors
from .server_info import ServerInfo, ServerInfoReader
from .server_part import ServerPart
from .task_times import TaskTimes
from .worker_record import WorkerRecord
from .worker_registry import WorkerRegistry

#: Maximum number of open tasks of a fan-out that are examined.
_SAMPLE = 20
#: Maximum depth of jobs that wait for one another.
_DEPTH = 12
_BETWEEN_STATES = (JobStatus.PENDING, JobStatus.RUNNING)


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """The facts that the jobs of a shard share; *queues* has the traits of each queue there."""

    now_ms: int
    plans: PlanAnnouncements
    workers: Sequence[WorkerRecord]
    server: ServerInfo
    queues: Mapping[str, str]


class JobFactsReader(ServerPart):
    """Thread-safe."""

    def __init__(self, server: RedisClient, router: Router, *, registry: WorkerRegistry) -> None:
        super().__init__(server)
        self._router = router
        self._registry = registry
        shards = {prefix: (server.at(prefix), router.of(prefix)) for prefix in server.prefixes}
        self._inspectors = {prefix: Inspector(*shard) for prefix, shard in shards.items()}
        self._flow = FlowControl(server, router)
        self._times = TaskTimes(server)

    def facts(self, job: Job) -> Facts:
        """Return the facts about *job* and the jobs that it waits for."""
        [group] = self.read_together(self.read_group(job.id))
        return self.read_together(self.read_facts(job, group))[0]

    def read_group(self, job_id: str) -> Reading[GroupFacts]:
        """Read, in one round trip, the facts that a job shares with others."""
        prefix = self._keys.of(job_id).prefix
        readings: Sequence[Reading[Any]] = (
            self._read_clock(),
            Plans(self._server).read_announcements(),
            self._registry.read_workers(),
            ServerInfoReader(self._server).read_info(prefix),
            self._inspectors[prefix].read_traits(),
        )
        return GroupFacts(*(yield from together(*readings)))

    def read_facts(self, job: Job, group: GroupFacts, *, depth: int = 0) -> Reading[Facts]:
        """Read the facts about *job*, in one round trip; in more for a fan-out, and for the jobs that it waits for."""
        job = yield from self._read_some_branches(job)
        readings: Sequence[Reading[Any]] = (
            self._read_own(job),
            self._read_places(job, group.queues),
            self._read_child(job, group, depth=depth),
        )
        (live, due_ms, ending), places, child = yield from together(*readings)
        line_key = self._keys.of(job.id).unique_of(job)
        line = none_refused((yield [("LRANGE", line_key, 0, -1)]))[0] if _may_wait(job) else ()
        ids = [each.decode() for each in line]
        return Facts(
            job=job,
            now_ms=group.now_ms,
            live_state=live,
            due_ms=due_ms,
            plan_silent_ms=group.plans.silent_ms.get(plan_name(job.blueprint, job.plan_hash)),
            places=places,
            workers=[_able(worker) for worker in group.workers],
            memory_share=group.server.used_memory / group.server.maxmemory if group.server.maxmemory else 0.0,
            child=child,
            earlier=ids[: ids.index(job.id)] if job.id in ids else (),
            ending=ending,
        )

    def _read_own(self, job: Job) -> Reading[tuple[LiveState, dict[str, int], HistoryEntry | None]]:
        """Read the live state of *job*, its timers, and its last history entry if it has ended."""
        timers, keys = timers_of_job(job, job.status), self._keys.of(job.id)
        wanted = [("ZSCORE", keys.timers(), timer_name(job.id, timer)) for timer in timers]
        last = [("LRANGE", keys.history(job.id), -1, -1)] if job.status.is_final else []
        replies = none_refused((yield [*wanted, *last, *live_state.commands(job, keys)]))
        scores, rows = replies[: len(timers)], chain(*replies[len(timers) :][: len(last)])
        due_ms = {timer: int(float(score)) for timer, score in zip(timers, scores, strict=True) if score is not None}
        ending = next((load_entry(0, row).entry for row in rows), None)
        return live_state.read(job, replies[len(timers) + len(last) :]), due_ms, ending

    def _read_some_branches(self, job: Job) -> Reading[Job]:
        if job.fan_out is None:
            return job
        [(_, fields)] = none_refused((yield [("HSCAN", self._keys.of(job.id).tasks(job.id), 0, "COUNT", _SAMPLE)]))
        ids = [name.decode() for name in fields[::2] if b"/" not in name]
        numbers = sorted(branch_of(task_id) for task_id in ids)[:_SAMPLE]
        wanted = BranchQuery(job, numbers, answers=False)
        return wanted.load(none_refused((yield wanted.commands(self._keys)))).job

    def _read_places(self, job: Job, queues: Mapping[str, str]) -> Reading[dict[str, QueuePlace]]:
        tasks = [task for task in job.tasks.values() if task.is_open and task.blueprint is None]
        prefix = self._keys.of(job.id).prefix
        inspector = self._inspectors[prefix]
        places = {task.id: _queue_of(task) for task in tasks}
        if job.status in _BETWEEN_STATES:
            with suppress(NoRouteError), server_errors():
                route = self._router.of(prefix).route(STEPS, f"{prefix_of(job, str(job.current_state))}._enter")
                places[job.id] = route.queues[0]
        located = [task for task in tasks if not task.branch] or tasks[-1:]
        readings: Sequence[Reading[Any]] = (
            inspector.read_stats(places.values(), queues),
            *(inspector.read_location(_queue_of(task), task.groups, queues) for task in located),
            *(self._read_turn(job, task, queues) for task in located),
        )
        figures, *found = yield from together(*readings)
        stats = {each.name: each for each in figures}
        known = {task.id: place for task, place in zip(located, found, strict=False)}
        turns = {task.id: turn for task, turn in zip(located, found[len(located) :], strict=True)}
        shown = {name: _place(stats.get(queue, QueueStats(queue)), known.get(name)) for name, queue in places.items()}
        return {name: replace(place, **turns.get(name, {})) for name, place in shown.items()}

    def _read_turn(self, job: Job, task: Task, queues: Mapping[str, str]) -> Reading[dict[str, Any]]:
        """Read the turn of a task, and the limit that stops it, in a queue whose consumers take turns."""
        queue = _queue_of(task)
        read = self._flow.read_place(queue, task.attempt_group, self._keys.of(job.id).prefix)
        place = (yield from read) if "w" in queues.get(queue, "") else None
        if place is None:
            return {}
        names = (f"skill:{task.task_type}", f"client:{job.client}", f"blueprint:{job.blueprint}")
        paused = [each for each in (yield from self._flow.read_limits(names)) if each.paused_by]
        found = place.limit or next(iter(paused), None)  # without a consumer nothing has been stopped
        if found is None:
            return {"before": place.ahead, "in_turns": True}
        values = limit_values(found)
        each = self._times.read(task.task_type)[1] / values.concurrency if values.concurrency else 0.0
        each = max(each, values.rate.seconds / values.rate.count if values.rate else 0.0)
        jobs = list(dict.fromkeys(map(job_of, place.holders)))
        stopped = StoppedBy(found.name, values, found.running, jobs, found.paused_at_ms, found.paused_by, each)
        return {"before": place.ahead, "limit": stopped}

    def _read_child(self, job: Job, group: GroupFacts, *, depth: int) -> Reading[Facts | None]:
        child_id = next((task.child_id for task in job.tasks.values() if task.blueprint is not None), None)
        if job.wait is not None and job.wait.kind == "child":
            child_id = str(job.wait.details["child_id"])
        if child_id is None or job.status.is_final or depth >= _DEPTH:
            return None
        [row] = yield from self._read_rows([child_id])
        child = load_job(child_id, row)
        if child is None or isinstance(child, UnreadableJob):
            return None
        return (yield from self.read_facts(child, group, depth=depth + 1))


def _may_wait(job: Job) -> bool:
    """Return True if *job* may wait for others with its unique key."""
    return job.status is JobStatus.PENDING and job.on_conflict in WAITING


def _place(stats: QueueStats, found: Queued | Unacked | None) -> QueuePlace:
    place = QueuePlace(queue=stats.name, waiting=stats.waiting, paused_ms=stats.paused_ms, paused_by=stats.paused_by)
    match found:
        case Queued(before):
            return replace(place, before=before)
        case Unacked(consumer, silent_ms):
            return replace(place, holder=consumer.removeprefix("http:"), silent_ms=silent_ms)
    return place


def _queue_of(task: Task) -> str:
    return task.task_type if task.worker_id is None else f"@{task.worker_id}"


def _able(worker: WorkerRecord) -> AbleWorker:
    return AbleWorker(
        worker_id=worker.worker_id,
        skills=frozenset(worker.skills),
        silent_ms=worker.silent_ms,
        is_online=worker.is_online,
        status=worker.status,
        unfit=worker.unfit,
    )
