"""The building blocks of steps: enter a state, close a task, quarantine, end, ignore. Each returns a Step."""

import json
from collections.abc import Mapping
from dataclasses import fields
from itertools import islice

from avtomatika.core import events
from avtomatika.core.events import Event
from avtomatika.core.job import Branches, HistoryEntry, Job, JobStatus, Json, Task
from avtomatika.core.plan import Plan
from avtomatika.core.step import Outgoing, SendEvent, SendReply, SendWebhook, Step
from avtomatika.core.texts import MAX_MESSAGE, MAX_TRACEBACK, shortened

from .timers import timers_of_job, timers_of_task

_IGNORED: Mapping[type[Event], str] = {
    events.Start: "start_ignored",
    events.Enter: "enter_ignored",
    events.Result: "task_result_ignored",
    events.RetryTask: "task_retry_ignored",
    events.PlaceTask: "task_placing_ignored",
    events.TaskTimeout: "task_timeout_ignored",
    events.RetryHandler: "handler_retry_ignored",
    events.Joined: "joined_ignored",
    events.NextBranches: "branches_ignored",
    events.CancelChildren: "cancel_ignored",
    events.TimeReached: "timer_ignored",
    events.Decision: "decision_ignored",
    events.SignalReceived: "signal_ignored",
    events.ChildEnded: "child_ignored",
    events.ChildQuarantined: "child_ignored",
    events.DeadlineExceeded: "deadline_ignored",
    events.DeadLetter: "dead_letter_ignored",
    events.Signal: "signal_ignored",
}

#: Maximum number of fields of a worker's error; the fields that are texts.
_MOST_ERROR_FIELDS = 32
_TEXTS_OF_ERRORS = frozenset({"code", "message", "traceback"})
#: Fields left out of notes: data may be long, and the job is known.
_NOT_IN_NOTES = ("job_id", "data", "result", "choice")


def error(code: str, message: str) -> dict[str, Json]:
    """Return the value of ``job.error``."""
    return {"code": code, "message": shortened(message)}


def reported_error(given: Mapping[str, Json] | None, default: Mapping[str, Json]) -> dict[str, Json]:
    """Return the error that a worker reported, with missing fields from *default*, texts shortened and oversized fields
    omitted."""
    found = dict(default)
    for name, value in islice((given or {}).items(), _MOST_ERROR_FIELDS):
        if isinstance(value, str):
            found[name] = shortened(value, MAX_TRACEBACK if name == "traceback" else MAX_MESSAGE)
        elif value is not None and name not in _TEXTS_OF_ERRORS and len(json.dumps(value)) <= MAX_TRACEBACK:
            found[name] = value
    return found


def enter_state(plan: Plan, job: Job, target: str, *, queue: str | None) -> Step:
    """Continue in *target*: in this step if its queue is *queue* (or *queue* is None), else by a message to its
    queue."""
    job = job.evolve(status=JobStatus.RUNNING, current_state=target)
    if queue is None or plan.queue_of(target) == queue:
        return Step(job, enter=target)
    return Step(job, outgoing=(SendEvent(plan.key(target, "_enter"), events.Enter(job.id, target, job.transitions)),))


def close(job: Job, task: Task, *entries: HistoryEntry) -> Step:
    """Stop waiting for *task*; *entries* say why."""
    others = {task_id: other for task_id, other in job.tasks.items() if task_id != task.id}
    return Step(
        job.evolve(tasks=others),
        history=entries,
        cancelled_timers=timers_of_task(task),
        closed=((task.id, task.attempt),) if task.is_open else (),
    )


def break_off(job: Job, problem: Mapping[str, Json]) -> Step:
    """End the job as ``error``: no retry can fix *problem*."""
    return end(job, JobStatus.ERROR, {"error": problem}, error=problem)


def drop_branches(job: Job) -> Step:
    """Leave the fan-out: close its open tasks and drop its results."""
    if job.fan_out is None:
        return Step(job)
    return Step(
        job.evolve(fan_out=None, tasks={}),
        closed=tuple((task.id, task.attempt) for task in job.tasks.values() if task.is_open),
        drops_branches=True,
    )


def abandon_branches(job: Job) -> Step:
    """Leave the fan-out before all branches have ended: also revoke the messages of open ones."""
    left = drop_branches(job)
    return left if job.fan_out is None else left.then(stop_branches(left.job, job.fan_out))


def stop_branches(job: Job, branches: Branches) -> Step:
    """Revoke the messages of open *branches*, and cancel their child jobs."""
    revoked = (f"{job.id}.{branches.step}",)
    if not branches.has_children:
        return Step(job, revoked=revoked)
    key = f"{job.blueprint}@{job.plan_hash}.{branches.state}._branches"
    cancel = events.CancelChildren(job.id, branches.step, 1, branches.sent)
    return Step(job, outgoing=(SendEvent(key, cancel),), revoked=revoked)


def end(job: Job, status: JobStatus, data: Mapping[str, Json] | None = None, **changes: Json) -> Step:
    """End *job* with *changes*: nothing of it stays open, and the job that waits for it receives its outcome."""
    stopped = _stop(job, status, f"job_{status}", data, changes)
    ended, parent = stopped.job, job.parent
    if parent is None:
        return stopped
    if parent.task_id is None:
        event = events.ChildEnded(parent.job_id, job.id, status.value, ended.result, ended.error)
        return stopped.then(Step(ended, outgoing=(SendEvent(parent.routing_key, event),)))
    problem = None
    if status is not JobStatus.FINISHED:
        problem = ended.error or error("CHILD_ENDED", f"job {job.id} is {status}")
    result = events.Result(parent.job_id, parent.task_id, 1, status.outcome, ended.result, problem)
    key = f"{parent.routing_key.rpartition('.')[0]}.{status.outcome}"
    return stopped.then(Step(ended, outgoing=(SendEvent(key, result),)))


def quarantine(job: Job, problem: Mapping[str, Json], details: Mapping[str, Json] | None = None) -> Step:
    """Stop *job* until a person retries or cancels it; *problem* (from ``error``) becomes its error."""
    data = {"reason": problem["message"], "error": problem} | ({"details": details} if details else {})
    stopped = _stop(job, JobStatus.QUARANTINED, "job_quarantined", data, {"error": problem})
    return stopped.then(notify_parent(stopped.job, problem))


def notify_parent(job: Job, problem: Mapping[str, Json]) -> Step:
    """Tell the parent that *problem* quarantined *job* or one of its children."""
    if job.parent is None:
        return Step(job)
    event = events.ChildQuarantined(job.parent.job_id, job.id, job.version, problem)
    return Step(job, outgoing=(SendEvent(job.parent.routing_key, event),))


def ignore(job: Job, event: Event, reason: str) -> Step:
    """Change nothing; a note says why."""
    data = {field.name: getattr(event, field.name) for field in fields(event) if field.name not in _NOT_IN_NOTES}
    note = {"event_type": _IGNORED[type(event)], "reason": reason}
    return Step(job, note=note | {name: value for name, value in data.items() if value is not None})


def _stop(
    job: Job, status: JobStatus, event_type: str, data: Mapping[str, Json] | None, changes: Mapping[str, Json]
) -> Step:
    abandoned = abandon_branches(job)
    job, has_webhook = abandoned.job, job.webhook_url is not None
    open_tasks = [task for task in job.tasks.values() if task.is_open]
    webhooks = job.webhooks + has_webhook
    changes = {**changes, "signals": ()} if status.is_final else changes
    stopped = job.evolve(status=status, tasks={}, handler_failures=0, wait=None, webhooks=webhooks, **changes)
    outgoing: list[Outgoing] = []
    if job.wait is not None and job.wait.kind == "child":  # which cancels its own child in turn
        child_id, key = job.wait.details["child_id"], job.wait.details["signal_key"]
        cancel = events.Signal(child_id, "cancel", by=f"job {job.id}", token=f"parent:{child_id}")
        outgoing.append(SendEvent(key, cancel))
    if has_webhook:
        outgoing.append(SendWebhook(stopped))
    if job.reply is not None:
        outgoing.append(SendReply(stopped))
    return abandoned.then(
        Step(
            stopped,
            history=(HistoryEntry(event_type, state=job.current_state, data=data),),
            outgoing=tuple(outgoing),
            cancelled_timers=timers_of_job(job, status),
            closed=tuple((task.id, task.attempt) for task in open_tasks),
            revoked=tuple(task.group for task in open_tasks),
        )
    )
