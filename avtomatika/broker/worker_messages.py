"""What workers send: results, and notices of themselves. The outcome of a result is in the key, so that the broker
finds the state that is next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from avtomatika.core.events import DeadLetter, Result
from avtomatika.core.plan import CONTROL, WORKERS
from avtomatika.core.signing import GroupSecret, Signer
from avtomatika.schemas import wire
from avtomatika.schemas.worker_status import beat_of, record_of
from avtomatika.transport import ON_DEAD_HEADER, Outgoing

from .topology import HEARTBEAT, PROGRESS, REGISTER, TAKEN

#: What a worker says of itself is news for so long: an orchestrator that was away must not take it for the present.
NOTICE_TTL_SECONDS = 30.0
#: Outcomes that every task may have; others must be among the task's own.
_ALWAYS = frozenset({"success", "failure", "cancelled"})


def result_message(
    task: wire.TaskMessage, result: Result, *, headers: Mapping[str, Any], signer: Signer | None = None
) -> Outgoing:
    """*result* on its way to the job that waits for *task*, with the *headers* of :func:`told_of_death`."""
    body = wire.dump_result(result, ticket=task.ticket, signer=signer)
    return Outgoing(task.reply_exchange, reply_key(task, result), body, headers=headers)


def dead_letter_headers(task: wire.TaskMessage, secret: GroupSecret) -> dict[str, Any]:
    """Headers of a result whose job hears of it when it is given up; for one of the group.

    Workers, who cannot sign it, hand on what came with the task.
    """
    dead = DeadLetter(task.job_id, reason="dead_letter", state=task.state, task_id=task.task_id, attempt=task.attempt)
    return wire.told_when_dead(task.reply_exchange, task.reply_prefix, dead, secret)


def forwarded_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Of the *headers* of a task those that its result has too."""
    return {name: value for name, value in headers.items() if name == ON_DEAD_HEADER}


def reply_key(task: wire.TaskMessage, result: Result) -> str:
    """The routing key of *result*: an outcome that the task does not know goes to ``_unknown``."""
    is_known = result.status in task.outcomes or result.status in _ALWAYS
    return f"{task.reply_prefix}.{result.status if is_known else '_unknown'}"


def task_started(task: wire.TaskMessage, worker_id: str, *, signer: Signer | None = None) -> Outgoing:
    """Word to the orchestrators that *worker_id* begins with *task*."""
    taken = wire.Taken(task.job_id, task.task_id, task.attempt, worker_id, task.state)
    return Outgoing(WORKERS, TAKEN, wire.dump_notice(taken, signer))


def tasks_started(tasks: Sequence[wire.TaskMessage], worker_id: str, *, signer: Signer | None = None) -> Outgoing:
    """The same of several: one message costs all who handle it less than many."""
    if len(tasks) == 1:
        return task_started(tasks[0], worker_id, signer=signer)
    rows = [(task.job_id, task.task_id, task.attempt, task.state) for task in tasks]
    return Outgoing(WORKERS, TAKEN, wire.dump_notice(wire.Begun(worker_id, rows), signer))


def task_progress(progress: wire.Progress, *, signer: Signer | None = None) -> Outgoing:
    """Word to the orchestrators of how far a task is."""
    return Outgoing(WORKERS, PROGRESS, wire.dump_notice(progress, signer))


def registration(body: Mapping[str, Any], *, signer: Signer | None = None) -> Outgoing:
    """Word to the orchestrators that a worker is there, and what it can do."""
    return Outgoing(
        WORKERS,
        REGISTER,
        wire.dump_notice(wire.Registered(body["worker_id"], record_of(body)), signer),
        ttl_seconds=NOTICE_TTL_SECONDS,
    )


def heartbeat(body: Mapping[str, Any], *, signer: Signer | None = None) -> Outgoing:
    """Word to the orchestrators that a worker is still there, and how it fares."""
    beat = wire.Beat(body["worker_id"], beat_of(body))
    return Outgoing(WORKERS, HEARTBEAT, wire.dump_notice(beat, signer), ttl_seconds=NOTICE_TTL_SECONDS)


def control_message(control: wire.Control) -> Outgoing:
    """Word to all workers."""
    return Outgoing(CONTROL, "", wire.dump_control(control))
