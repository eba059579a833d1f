"""Counts what an orchestrator commits, for its metrics and the scaling signal."""

from contextlib import suppress

from avtomatika import metrics
from avtomatika.core.events import Result, Start
from avtomatika.errors import UnavailableError
from avtomatika.store import CommitReply, CommitStatus, Store

from .unit_of_work import Work


class StepCounts:
    """For one thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def reply(self, work: Work, reply: CommitReply) -> None:
        """Count the *reply* to the commit of *work*, and what was written."""
        metrics.series(metrics.COMMITS, reply.answer).inc()
        if reply.answer is not CommitStatus.OK:
            return
        job, tasks, blueprint = work.step.job, work.before.tasks, work.before.blueprint
        metrics.series(metrics.STEPS, blueprint).inc()
        for event in (received.event for received in work.answered):
            if isinstance(event, Start):
                metrics.series(metrics.JOBS_STARTED, blueprint).inc()
            elif isinstance(event, Result) and (task := tasks.get(event.task_id)) is not None:
                is_known = event.status in (*task.transitions, "success", "failure", "cancelled")
                self.result(event, task.task_type, event.status if is_known else "other")
        for entry in work.step.history:
            if entry.event_type == "task_retried" and (retried := tasks.get(entry.task_id or "")) is not None:
                metrics.series(metrics.TASK_RETRIES, retried.task_type).inc()
        if job.status.is_final:
            metrics.series(metrics.JOBS_ENDED, blueprint, job.status).inc()
            with suppress(UnavailableError):  # of the clock
                age_ms = self._store.clock.now_ms() - job.created_ms
                metrics.series(metrics.JOB_SECONDS, blueprint).observe(age_ms / 1000)

    def result(self, result: Result, skill: str, outcome: str = "success") -> None:
        """Count a result that a job accepted; that of a child job has no skill."""
        if not skill:
            return
        metrics.series(metrics.TASK_RESULTS, skill, outcome).inc()
        if result.duration_ms is not None:
            metrics.series(metrics.TASK_SECONDS, skill).observe(result.duration_ms / 1000)
            self._store.task_times.record(skill, result.duration_ms)
