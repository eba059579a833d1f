"""Builds the messages that a step sends: step events, tasks, timers and webhooks, signed by the group."""

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from avtomatika import tracing
from avtomatika.core import step as core
from avtomatika.core.events import DeadLetter, Event, Result, TaskTimeout
from avtomatika.core.job import Job, Json, Task
from avtomatika.core.plan import BUILTIN_OUTCOMES, STEPS, TASKS, TIMERS, WEBHOOKS
from avtomatika.core.signing import GroupSecret
from avtomatika.core.step import SendEvent, SendReply, SendTask, SendWebhook, SetTimer
from avtomatika.schemas import wire
from avtomatika.transport import Outgoing, Router

from .server_part import ServerClock

#: Larger messages might be refused by the broker.
_LARGEST_REPLY = 2 * 1024 * 1024


def message_of(job: Job, outgoing: core.Outgoing, secret: GroupSecret, *, version: int, clock: ServerClock) -> Outgoing:
    """Return *outgoing* as the message that the commit of *version* sends."""
    match outgoing:
        case SendTask(task, limits):
            context = tracing.task_context(job, version=version, now_ms=clock.now_ms())
            return task_message(job, task, secret, context, limits=limits)
        case SendWebhook(job_then, event):
            webhook = wire.WebhookMessage.of(job_then, version=version, now_ms=clock.now_ms(), event=event)
            return webhook_message(webhook, secret)
        case SendReply(ended):
            return reply_message(ended)
        case SendEvent():
            return step_message(outgoing, secret)
        case _:
            assert_never(outgoing)


def notification(job: Job, secret: GroupSecret, *, version: int, clock: ServerClock) -> Outgoing:
    """Return the message that has operators notified of *job*, independently of its webhooks."""
    webhook = wire.WebhookMessage.of(job, version=version, now_ms=clock.now_ms())
    return webhook_message(replace(webhook, url="", number=max(job.webhooks, 1)), secret)


def webhook_message(webhook: wire.WebhookMessage, secret: GroupSecret, *, delay_seconds: float = 0) -> Outgoing:
    """Return the message that has *webhook* delivered."""
    return Outgoing(WEBHOOKS, WEBHOOKS, wire.dump_webhook(webhook, secret), delay_seconds=delay_seconds)


def step_message(sent: SendEvent, secret: GroupSecret) -> Outgoing:
    """Return an event as a message to its state. If it is dead-lettered, its job receives a DeadLetter event."""
    prefix = sent.routing_key.rpartition(".")[0]
    dead = DeadLetter(sent.event.job_id, reason="dead_letter", state=prefix.rpartition(".")[2])
    headers = wire.dead_letter_event_headers(STEPS, prefix, dead, secret)
    if isinstance(sent.event, Result):  # of a child job that is a branch
        ticket = secret.ticket(sent.event.task_id, sent.event.attempt)
        return Outgoing(
            STEPS, sent.routing_key, wire.dump_result(sent.event, ticket=ticket, signer=secret), headers=headers
        )
    return Outgoing(STEPS, sent.routing_key, wire.dump_event(sent.event, secret), headers=headers)


def task_message(
    job: Job, task: Task, secret: GroupSecret, tracing_context: Json = None, *, limits: Sequence[Json] = ()
) -> Outgoing:
    """Return *task* as a message to any worker with the skill, or to the selected worker, under *limits* besides those
    of its skill, client and blueprint."""
    message = wire.TaskMessage(
        job_id=job.id,
        task_id=task.id,
        attempt=task.attempt,
        task_type=task.task_type,
        params=task.params,
        outcomes=tuple(dict.fromkeys((*BUILTIN_OUTCOMES, *task.transitions))),
        reply_exchange=STEPS,
        reply_prefix=prefix_of(job, task.state),
        result_timeout_seconds=task.result_timeout_seconds,
        client=job.client or None,
        ticket=secret.ticket(task.id, task.attempt),
        tracing_context=tracing_context,
    )
    dead = DeadLetter(job.id, reason="dead_letter", state=task.state, task_id=task.id, attempt=task.attempt)
    names = [f"skill:{task.task_type}", *([f"client:{job.client}"] if job.client else [])]
    names += [] if job.skill else [f"blueprint:{job.blueprint}"]
    headers = {
        "x-group": task.groups,
        "x-flow": {"key": job.fairness_key or job.client, "limits": [*names, *limits]},
        **wire.dead_letter_event_headers(STEPS, message.reply_prefix, dead, secret),
    }
    key = task.task_type if task.worker_id is None else f"@{task.worker_id}"
    return Outgoing(TASKS, key, wire.dump_task(message), priority=task.priority, headers=headers)


def reply_message(job: Job) -> Outgoing:
    """Return the reply of *job*; it passes another queue, since its own may be gone, which must not stop a commit."""
    reply = job.reply or {}
    body = wire.dump_reply(reply, job_id=job.id, status=job.status, result=job.result, error=job.error)
    if len(body) > _LARGEST_REPLY:
        error = {"code": "RESULT_TOO_LARGE", "message": f"the result of job {job.id} has {len(body)} bytes"}
        body = wire.dump_reply(reply, job_id=job.id, status="failed", error=error)
    due = wire.DueTimer("", reply["queue"], body, {"correlation_id": reply["correlation_id"]})
    return Outgoing(TIMERS, TIMERS, wire.dump_due_timer(due))


def timer_message(routing_key: str, event: Event, secret: GroupSecret) -> Outgoing:
    """Return the message for the queue of due timers; it contains the step message to send."""
    return Outgoing(
        TIMERS, TIMERS, wire.dump_due_timer(wire.DueTimer(STEPS, routing_key, wire.dump_event(event, secret)))
    )


def result_timer(job: Job, task: Task, secret: GroupSecret) -> Outgoing:
    """Return the timer of the result timeout, which starts when a worker takes *task*."""
    event = TaskTimeout(job.id, task.id, task.attempt, "result")
    return timer_message(f"{prefix_of(job, task.state)}._timeout", event, secret)


def timer_row(job_id: str, timer: SetTimer, router: Router, secret: GroupSecret) -> tuple[str, str | int, str]:
    """Return *timer* as scripts read it: name, milliseconds (or ``@`` and a time), message."""
    message = timer_message(timer.routing_key, timer.event, secret)
    due = round(timer.delay_seconds * 1000) if timer.at_ms is None else f"@{timer.at_ms}"
    return timer_name(job_id, timer.id), due, router.encode(message)


def opened_row(job: Job, task_id: str, router: Router, secret: GroupSecret) -> tuple[str, int, str | int, str]:
    """Return an opened task as scripts read it: id, attempt, and the result timeout with its timer message."""
    task = job.tasks[task_id]
    if task.result_timeout_seconds is None:
        return task_id, task.attempt, "", ""
    limit_ms = round(task.result_timeout_seconds * 1000)
    return task_id, task.attempt, limit_ms, router.encode(result_timer(job, task, secret))


def signal_key(job: Job) -> str:
    """Return the routing key of signals to *job* in its current state."""
    return f"{prefix_of(job, str(job.current_state))}._signal"


def timer_name(job_id: str, timer_id: str) -> str:
    """Return the name of a timer, unique among all jobs."""
    return f"{job_id}/{timer_id}"


def prefix_of(job: Job, state: str) -> str:
    """Return the prefix of all routing keys of *state*."""
    return f"{job.blueprint}@{job.plan_hash}.{state}"
