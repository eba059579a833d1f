"""Counts what an orchestrator commits, for its metrics and the scaling signal."""

from contextlib import suppress

from avtomatika import metrics
from avtomatika.core.events import Result, Start
from avtomatika.errors import UnavailableError
from avtomatika.metrics import bounded
from avtomatika.store import CommitReply, CommitStatus, Store

from .unit_of_work import Work


class StepCounts:
    """For one thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def reply(self, work: Work, reply: CommitReply) -> None:
        """Count the *reply* to the commit of *work*, and what was written."""
        metrics.COMMITS.labels(reply.answer).inc()
        if reply.answer is not CommitStatus.OK:
            return
        job, tasks, blueprint = work.step.job, work.before.tasks, bounded("blueprint", work.before.blueprint)
        metrics.STEPS.labels(blueprint).inc()
        for event in (received.event for received in work.answered):
            if isinstance(event, Start):
                metrics.JOBS_STARTED.labels(blueprint).inc()
            elif isinstance(event, Result) and (task := tasks.get(event.task_id)) is not None:
                is_known = event.status in (*task.transitions, "success", "failure", "cancelled")
                self.result(event, task.task_type, event.status if is_known else "other")
        for entry in work.step.history:
            if entry.event_type == "task_retried" and (retried := tasks.get(entry.task_id or "")) is not None:
                metrics.TASK_RETRIES.labels(bounded("skill", retried.task_type)).inc()
        if job.status.is_final:
            metrics.JOBS_ENDED.labels(blueprint, job.status).inc()
            with suppress(UnavailableError):  # of the clock
                metrics.JOB_SECONDS.labels(blueprint).observe((self._store.clock.now_ms() - job.created_ms) / 1000)

    def result(self, result: Result, skill: str, outcome: str = "success") -> None:
        """Count a result that a job accepted."""
        name = bounded("skill", skill)
        metrics.TASK_RESULTS.labels(name, bounded("outcome", outcome)).inc()
        if result.duration_ms is not None:
            metrics.TASK_SECONDS.labels(name).observe(result.duration_ms / 1000)
            self._store.task_times.record(skill, result.duration_ms)
