"""Collects the facts that explain why a job does not progress, in a few round trips for a job of any size."""

from collections.abc import Iterator
from dataclasses import replace

from avtomatika.core.explain.facts import AbleWorker, Facts, QueuePlace
from avtomatika.core.job import Job, JobStatus, Task, branch_of
from avtomatika.core.machine.plan_migration import plan_name
from avtomatika.core.machine.timers import timers_of_job
from avtomatika.core.placement.selection import Unfit
from avtomatika.core.plan import STEPS
from avtomatika.errors import NoRouteError
from avtomatika.transport import Inspector, Queued, QueueStats, RedisClient, Router, Unacked

from . import live_state
from .branches import BranchQuery
from .entries import load_entry
from .messages import prefix_of, timer_name
from .plans import Plans
from .records import JOB_FIELDS, UnreadableJob, load_job
from .scripts import server_errors
from .server_info import ServerInfoReader
from .server_part import ServerPart, milliseconds
from .worker_registry import WorkerRecord, WorkerRegistry

#: Maximum number of open tasks of a fan-out that are examined.
_SAMPLE = 20
#: Maximum depth of jobs that wait for one another.
_DEPTH = 12
_BETWEEN_STATES = (JobStatus.PENDING, JobStatus.RUNNING)


class JobFactsReader(ServerPart):
    """Thread-safe."""

    def __init__(self, server: RedisClient, router: Router, *, registry: WorkerRegistry) -> None:
        super().__init__(server)
        self._router = router
        self._registry = registry
        self._survey = Inspector(server, router)

    def facts(self, job: Job) -> Facts:
        """Return the facts about *job* and the jobs that it waits for."""
        return self._facts(job, depth=0)

    def _facts(self, job: Job, *, depth: int) -> Facts:
        job = self._with_some_branches(job)
        timers = timers_of_job(job, job.status)
        scores = [("ZSCORE", self._keys.timers(), timer_name(job.id, timer)) for timer in timers]
        last = ("LRANGE", self._keys.history(job.id), -1, -1)
        clock, rows, *answers = self._read([("TIME",), last, *scores, *live_state.commands(job, self._keys)])
        now_ms, live = milliseconds(clock), live_state.read(job, answers[len(timers) :])
        if job.status.is_final:
            ending = load_entry(0, rows[0]).entry if rows else None
            return Facts(job=job, now_ms=now_ms, live_state=live, ending=ending)
        info = ServerInfoReader(self._server).info()
        return Facts(
            job=job,
            now_ms=now_ms,
            live_state=live,
            due_ms={
                timer: int(float(score)) for timer, score in zip(timers, answers, strict=False) if score is not None
            },
            plan_silent_ms=Plans(self._server).announce().silent_ms.get(plan_name(job.blueprint, job.plan_hash)),
            places=dict(self._places(job)),
            workers=[_able(worker) for worker in self._registry.workers()],
            memory_share=info.used_memory / info.maxmemory if info.maxmemory else 0.0,
            child=self._child(job, depth=depth),
        )

    def _with_some_branches(self, job: Job) -> Job:
        if job.fan_out is None:
            return job
        [(_, fields)] = self._read([("HSCAN", self._keys.tasks(job.id), 0, "COUNT", _SAMPLE)])
        ids = [name.decode() for name in fields[::2] if b"/" not in name]
        numbers = sorted(branch_of(task_id) for task_id in ids)[:_SAMPLE]
        wanted = BranchQuery(job, numbers, answers=False)
        return wanted.load(self._read(wanted.commands(self._keys))).job

    def _places(self, job: Job) -> Iterator[tuple[str, QueuePlace]]:
        if job.status in _BETWEEN_STATES:
            try:
                with server_errors():
                    route = self._router.route(STEPS, f"{prefix_of(job, str(job.current_state))}._enter")
            except NoRouteError:
                return
            yield job.id, self._place(route.queues[0])
        for task in job.tasks.values():
            if task.is_open:
                yield task.id, self._place(_queue_of(task), task)

    def _place(self, queue: str, task: Task | None = None) -> QueuePlace:
        with server_errors():
            figures = self._survey.stats([queue])
            found = None if task is None or task.branch else self._survey.locate(queue, task.groups)
        known = figures[0] if figures else QueueStats(queue)
        place = QueuePlace(queue=queue, waiting=known.waiting, paused_ms=known.paused_ms, paused_by=known.paused_by)
        match found:
            case Queued(before):
                return replace(place, before=before)
            case Unacked(consumer, silent_ms):
                return replace(place, holder=consumer.removeprefix("http:"), silent_ms=silent_ms)
        return place

    def _child(self, job: Job, *, depth: int) -> Facts | None:
        if job.wait is None or job.wait.kind != "child" or job.status.is_final or depth >= _DEPTH:
            return None
        child_id = str(job.wait.details["child_id"])
        child = load_job(child_id, self._read([("HMGET", self._keys.job(child_id), *JOB_FIELDS)])[0])
        return None if child is None or isinstance(child, UnreadableJob) else self._facts(child, depth=depth + 1)


def _queue_of(task: Task) -> str:
    return task.task_type if task.worker_id is None else f"@{task.worker_id}"


def _able(worker: WorkerRecord) -> AbleWorker:
    return AbleWorker(
        worker_id=worker.worker_id,
        skills=frozenset(worker.skills),
        silent_ms=worker.silent_ms,
        is_online=worker.is_online,
        status=worker.status,
        unfit=Unfit.of(worker.beat),
    )
