"""What a step sends, as messages of the wire: step events, tasks and timers; what is ours is signed."""

from __future__ import annotations

from typing import assert_never

from avtomatika.core import step as core
from avtomatika.core.events import DeadLetter, Event, TaskTimeout
from avtomatika.core.job import Job, Task
from avtomatika.core.plan import BUILTIN_OUTCOMES, STEPS, TASKS, TIMERS, WEBHOOKS
from avtomatika.core.signing import GroupSecret
from avtomatika.core.step import SendEvent, SendTask, SendWebhook
from avtomatika.schemas import wire
from avtomatika.transport import Outgoing

from .clock import ServerClock


def message_of(job: Job, outgoing: core.Outgoing, secret: GroupSecret, *, version: int, clock: ServerClock) -> Outgoing:
    """What a step of *job* sends, with the commit that makes its *version*."""
    match outgoing:
        case SendTask(task):
            return task_message(job, task, secret)
        case SendWebhook(job_then, event):
            webhook = wire.WebhookMessage.of(job_then, version=version, now_ms=clock.now_ms(), event=event)
            return webhook_message(webhook, secret)
        case SendEvent():
            return step_message(outgoing, secret)
        case _:
            assert_never(outgoing)


def webhook_message(webhook: wire.WebhookMessage, secret: GroupSecret, *, delay_seconds: float = 0) -> Outgoing:
    """A webhook on its way to those who deliver it."""
    return Outgoing(WEBHOOKS, WEBHOOKS, wire.dump_webhook(webhook, secret), delay_seconds=delay_seconds)


def step_message(sent: SendEvent, secret: GroupSecret) -> Outgoing:
    """An event on its way to the state that it concerns; if it is given up, the job that it is for is told."""
    prefix = sent.routing_key.rpartition(".")[0]
    dead = DeadLetter(sent.event.job_id, reason="dead_letter", state=prefix.rpartition(".")[2])
    headers = wire.dead_letter_event_headers(STEPS, prefix, dead, secret)
    return Outgoing(STEPS, sent.routing_key, wire.dump_event(sent.event, secret), headers=headers)


def task_message(job: Job, task: Task, secret: GroupSecret) -> Outgoing:
    """A task for whichever worker has the skill, or for the one that was chosen."""
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
    )
    dead = DeadLetter(job.id, reason="dead_letter", state=task.state, task_id=task.id, attempt=task.attempt)
    headers = {"x-group": task.groups, **wire.dead_letter_event_headers(STEPS, message.reply_prefix, dead, secret)}
    key = task.task_type if task.worker_id is None else f"@{task.worker_id}"
    return Outgoing(TASKS, key, wire.dump_task(message), priority=task.priority, headers=headers)


def timer_message(routing_key: str, event: Event, secret: GroupSecret) -> Outgoing:
    """What the queue of due timers gets: the step message that is to be sent on."""
    return Outgoing(
        TIMERS, TIMERS, wire.dump_due_timer(wire.DueTimer(STEPS, routing_key, wire.dump_event(event, secret)))
    )


def result_timer(job: Job, task: Task, secret: GroupSecret) -> Outgoing:
    """The timer that a worker starts by taking *task*."""
    event = TaskTimeout(job.id, task.id, task.attempt, "result")
    return timer_message(f"{prefix_of(job, task.state)}._timeout", event, secret)


def signal_key(job: Job) -> str:
    """Routing key by which *job* hears what somebody wishes, wherever it stands."""
    return f"{prefix_of(job, str(job.current_state))}._signal"


def timer_name(job_id: str, timer_id: str) -> str:
    """Name of a timer among those of all jobs."""
    return f"{job_id}/{timer_id}"


def prefix_of(job: Job, state: str) -> str:
    """What all routing keys of *state* begin with."""
    return f"{job.blueprint}@{job.plan_hash}.{state}"
