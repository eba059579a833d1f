"""The moves that every advance is made of: go on, close a task, rest, end, ignore. Each answers a Step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from .events import DeadLetter, Enter, Event, Result, RetryHandler, RetryTask, Signal, Start, TaskTimeout
from .job import HistoryEntry, Job, JobStatus, Json, Task
from .plan import Plan
from .step import SendEvent, SendWebhook, Step
from .timers import timers_of_job, timers_of_task

_ENDED: Mapping[JobStatus, str] = {
    JobStatus.FINISHED: "job_finished",
    JobStatus.FAILED: "job_failed",
    JobStatus.CANCELLED: "job_cancelled",
    JobStatus.ERROR: "job_error",
}
_IGNORED: Mapping[type[Event], str] = {
    Start: "start_ignored",
    Enter: "enter_ignored",
    Result: "task_result_ignored",
    RetryTask: "task_retry_ignored",
    TaskTimeout: "task_timeout_ignored",
    RetryHandler: "handler_retry_ignored",
    DeadLetter: "dead_letter_ignored",
    Signal: "signal_ignored",
}


def error(code: str, message: str) -> dict[str, Json]:
    """What ``job.error`` holds."""
    return {"code": code, "message": message}


def go_on(plan: Plan, job: Job, target: str, *, here: str | None) -> Step:
    """On to *target*: in this step if it lives in the queue *here* (None: all do), else by a message to its queue."""
    job = job.evolve(status=JobStatus.RUNNING, current_state=target)
    if here is None or plan.queue_of(target) == here:
        return Step(job, enter=target)
    return Step(job, outgoing=(SendEvent(plan.key(target, "_enter"), Enter(job.id, target, job.transitions)),))


def close(job: Job, task: Task) -> Step:
    """*job* waits for *task* no more."""
    others = {task_id: other for task_id, other in job.tasks.items() if task_id != task.id}
    return Step(
        job.evolve(tasks=others),
        cancelled_timers=timers_of_task(task),
        closed=((task.id, task.attempt),) if task.is_open else (),
    )


def end(job: Job, status: JobStatus, data: Mapping[str, Json] | None = None) -> Step:
    """*job* is over: nothing of it stays open."""
    return _stop(job.evolve(status=status), _ENDED[status], data)


def quarantine(job: Job, problem: Mapping[str, Json], details: Mapping[str, Json] | None = None) -> Step:
    """*job* rests until somebody looks at it; *problem* is what ``error`` answers, and becomes the job's."""
    data = {"reason": problem["message"], "error": problem} | ({"details": details} if details else {})
    return _stop(job.evolve(status=JobStatus.QUARANTINED, error=problem), "job_quarantined", data)


def ignore(job: Job, event: Event, reason: str) -> Step:
    """Nothing changes; a note says why."""
    told = {field.name: getattr(event, field.name) for field in fields(event) if field.name not in ("job_id", "data")}
    note = {"event_type": _IGNORED[type(event)], "reason": reason}
    return Step(job, note=note | {name: value for name, value in told.items() if value is not None})


def _stop(job: Job, event_type: str, data: Mapping[str, Json] | None) -> Step:
    told = job.webhook_url is not None
    stopped = job.evolve(tasks={}, handler_failures=0, webhooks=job.webhooks + told)
    return Step(
        stopped,
        history=(HistoryEntry(event_type, state=job.current_state, data=data),),
        outgoing=(SendWebhook(stopped),) if told else (),
        cancelled_timers=timers_of_job(job),
        closed=tuple((task.id, task.attempt) for task in job.tasks.values() if task.is_open),
    )
