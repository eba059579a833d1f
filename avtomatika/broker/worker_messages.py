"""Messages that workers send: results and notices.

The routing key of a result contains its outcome, so that the broker routes it to the next state.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from avtomatika.core.events import DeadLetter, Result
from avtomatika.core.plan import CONTROL, WORKERS
from avtomatika.core.signing import GroupSecret, Signer
from avtomatika.schemas import wire
from avtomatika.schemas.worker_status import heartbeat_status, registration_record
from avtomatika.transport import ON_DEAD_HEADER, Outgoing

from .topology import HEARTBEAT, PROGRESS, REGISTER, TAKEN

#: Expiry of registrations and heartbeats: an orchestrator that was down must not take old ones as current.
NOTICE_TTL_SECONDS = 30.0
#: Routing keys of notices.
_KEYS = {
    wire.TaskStarted: TAKEN,
    wire.TasksStarted: TAKEN,
    wire.Progress: PROGRESS,
    wire.StreamChunks: PROGRESS,
    wire.Registered: REGISTER,
    wire.Heartbeat: HEARTBEAT,
}
#: Outcomes valid for every task; others must be declared by the task.
_ALWAYS = frozenset({"success", "failure", "cancelled"})


def result_message(
    task: wire.TaskMessage,
    result: Result,
    *,
    headers: Mapping[str, Any],
    signer: Signer | None = None,
    encoded: bytes | None = None,
    shard: str = "",
) -> Outgoing:
    """Build the message with *result* for the job of *task*, with the *headers* of :func:`dead_letter_headers`.

    *encoded* are the data of the result as JSON, if the caller has them; *shard* is the prefix of the job's keys.
    """
    body = wire.dump_result(result, ticket=task.ticket, signer=signer, encoded=encoded)
    return Outgoing(task.reply_exchange, reply_key(task, result), body, headers=headers, shard=shard)


def dead_letter_headers(task: wire.TaskMessage, secret: GroupSecret) -> dict[str, Any]:
    """Build the headers that make the broker notify the job if the result is dead-lettered; for holders of the
    group secret.

    Workers cannot sign them; they forward the task's: :func:`forwarded_headers`.
    """
    dead = DeadLetter(task.job_id, reason="dead_letter", state=task.state, task_id=task.task_id, attempt=task.attempt)
    return wire.dead_letter_event_headers(task.reply_exchange, task.reply_prefix, dead, secret)


def forwarded_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Select the *headers* of a task that its result carries too."""
    return {name: value for name, value in headers.items() if name == ON_DEAD_HEADER}


def reply_key(task: wire.TaskMessage, result: Result) -> str:
    """Return the routing key of *result*; ``_unknown`` replaces an outcome that the task does not declare."""
    is_known = result.status in task.outcomes or result.status in _ALWAYS
    return f"{task.reply_prefix}.{result.status if is_known else '_unknown'}"


def notice(notice: wire.Notice, signer: Signer | None = None, *, shard: str = "") -> Outgoing:
    """Build the message with what a worker reports, about jobs of *shard* (the prefix of its keys; "" for home)."""
    key = _KEYS[type(notice)]
    ttl_seconds = NOTICE_TTL_SECONDS if key in (REGISTER, HEARTBEAT) else None
    return Outgoing(WORKERS, key, wire.dump_notice(notice, signer), ttl_seconds=ttl_seconds, shard=shard)


def task_started(task: wire.TaskMessage, worker_id: str, *, signer: Signer | None = None, shard: str = "") -> Outgoing:
    """Build the notice that *worker_id* has started *task*, of a job of *shard*."""
    started = wire.TaskStarted(task.job_id, task.task_id, task.attempt, worker_id, task.state)
    return notice(started, signer, shard=shard)


def tasks_started(
    tasks: Sequence[wire.TaskMessage], worker_id: str, *, signer: Signer | None = None, shard: str = ""
) -> Outgoing:
    """Build one notice for several tasks of jobs of *shard*, which is cheaper to process than one each."""
    if len(tasks) == 1:
        return task_started(tasks[0], worker_id, signer=signer, shard=shard)
    rows = [(task.job_id, task.task_id, task.attempt, task.state) for task in tasks]
    return notice(wire.TasksStarted(worker_id, rows), signer, shard=shard)


def registration(body: Mapping[str, Any], *, signer: Signer | None = None) -> Outgoing:
    """Build the notice that registers a worker and its skills."""
    return notice(wire.Registered(body["worker_id"], registration_record(body)), signer)


def heartbeat(body: Mapping[str, Any], *, signer: Signer | None = None) -> Outgoing:
    """Build the notice of a worker's heartbeat and status."""
    return notice(wire.Heartbeat(body["worker_id"], heartbeat_status(body)), signer)


def control_message(control: wire.Control) -> Outgoing:
    """Build a control message to all workers."""
    return Outgoing(CONTROL, "", wire.dump_control(control))
