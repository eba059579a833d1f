"""The gateway: the operations of workers over HTTP. The routes only read and write JSON."""

import logging
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from threading import Lock
from time import monotonic
from typing import Any

import orjson

from avtomatika import broker
from avtomatika.core.events import Result
from avtomatika.core.file_reference import MAX_INLINE_BYTES
from avtomatika.core.job import Json, job_of
from avtomatika.core.names import is_user_name
from avtomatika.errors import NotFoundError
from avtomatika.schemas import wire
from avtomatika.schemas.worker_status import heartbeat_status, registration_record, restricted_to
from avtomatika.store import JobStreams, Keyring, SettleStatus, TaskLease, TaskLeases, WorkerRegistry
from avtomatika.tokens import WorkerAccess

from .authentication import Authentication
from .task_polls import Poll, Polls

logger = logging.getLogger(__name__)

#: A router on the way may close connections that are idle for 30 s.
LONGEST_HOLD_SECONDS = 25.0
#: A heartbeat later than this after the lease names the task if the worker received it.
_DELIVERY_MS = 3_000
#: Stored characters of a progress message.
_MAX_MESSAGE = 1_000
#: The broker removes a queue without consumers after 15 minutes, but its worker may be busy for longer.
_DECLARE_EVERY_SECONDS = 5 * 60.0


class WorkerQueues:
    """Declares queues with connections from *connect*. Thread-safe."""

    def __init__(self, connect: Callable[[], Any], *, clock: Callable[[], float] = monotonic) -> None:
        self._connect = connect
        self._clock = clock
        self._declared: dict[str, float] = {}
        self._lock = Lock()

    def keep(self, worker_id: str, *, is_new: bool = False) -> None:
        """Declare the queue of *worker_id* if it *is_new* or was not declared for a while. Raises UnavailableError."""
        now = self._clock()
        with self._lock:
            if not is_new and now - self._declared.get(worker_id, float("-inf")) < _DECLARE_EVERY_SECONDS:
                return
            self._declared = {name: at for name, at in self._declared.items() if now - at < _DECLARE_EVERY_SECONDS}
        with self._connect() as connection:
            broker.declare_tasks(connection, (), worker_id=worker_id)
        with self._lock:
            self._declared[worker_id] = now


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The services of the gateway and the operations of workers."""

    authentication: Authentication
    registry: WorkerRegistry
    leases: TaskLeases
    streams: JobStreams
    polls: Polls
    keyring: Keyring
    worker_queues: WorkerQueues
    lease_seconds: float
    group: str = "g0"
    max_inline_bytes: int = MAX_INLINE_BYTES

    def register(self, access: WorkerAccess, registration: dict[str, Any]) -> dict[str, Json]:
        """Register a worker with the skills that it is granted. Tasks that it does not name are requeued: an earlier
        run of it never received them."""
        worker_id, record = access.worker_id, registration_record(registration)
        self.worker_queues.keep(worker_id, is_new=True)
        self.registry.register(worker_id, record if access.skills is None else restricted_to(record, access.skills))
        self._requeue_undelivered(worker_id, named=registration["current_tasks"], stamped_ms=None)
        logger.info("worker %s registered", worker_id)
        return {
            "status": "registered",
            "group": self.group,
            "broker": self.leases.broker_id(),
            "lease_seconds": self.lease_seconds,
        }

    def heartbeat(self, worker_id: str, heartbeat: dict[str, Any]) -> dict[str, Json]:
        """Renew the leases of the tasks that the worker names, and return the lost and the cancelled ones, which it
        must stop, and ``drain`` if it must take no new ones. Raises NotFoundError for an unregistered worker.

        A task that it does not name is requeued if the worker never received it, or says that it returns all others. A
        goodbye alone does not say so: results may still be in flight.
        """
        if not self.registry.beat(worker_id, heartbeat_status(heartbeat)):
            raise NotFoundError("worker", worker_id)
        self.worker_queues.keep(worker_id)
        answer: dict[str, Json] = {"status": "ok"} | ({"drain": True} if self.registry.is_drained(worker_id) else {})
        named = heartbeat.get("current_tasks")
        if named is None:
            return answer
        found = dict(zip(named, self.leases.find(named), strict=True))
        own = [lease for lease in found.values() if lease is not None and lease.worker_id == worker_id]
        renewed = {lease.task.task_id for lease, is_done in zip(own, self.leases.renew(own), strict=True) if is_done}
        if heartbeat["hands_back"]:
            self.leases.release([lease for lease in self.leases.of(worker_id) if lease.task.task_id not in named])
        else:
            stamp = heartbeat.get("timestamp")
            self._requeue_undelivered(worker_id, named=named, stamped_ms=None if stamp is None else stamp * 1000)
        cancelled = {
            lease.task.task_id for lease, is_so in zip(own, self.leases.are_cancelled(own), strict=True) if is_so
        }
        idle: list[Json] = [name for name in found if name not in renewed or name in cancelled]
        return answer | {"cancel_task_ids": idle} if idle else answer

    def _requeue_undelivered(self, worker_id: str, *, named: Collection[str], stamped_ms: int | None) -> None:
        """Requeue tasks that the worker never received: leased a while ago, and never named since."""
        leases = [each for each in self.leases.of(worker_id) if not each.is_named and each.task.task_id not in named]
        if not leases:
            return
        now_ms = self.leases.now_ms()
        latest_ms = min(now_ms, now_ms if stamped_ms is None else stamped_ms) - _DELIVERY_MS
        unknown = [each for each in leases if each.handed_ms <= latest_ms]
        for each in unknown:
            logger.warning("task %s: worker %s never received it; requeued", each.task.task_id, worker_id)
        self.leases.release(unknown)

    def poll(
        self,
        access: WorkerAccess,
        *,
        skills: Collection[str] | None,
        timeout_seconds: float,
        is_authorized: Callable[[], bool],
        hold: Callable[[Callable[[], object]], AbstractContextManager[object]],
    ) -> Poll:
        """Return a completed poll, with a task if there was one. *skills* defaults to the skills that the worker
        registered.

        It waits inside ``hold(end)``; calling *end* ends it.
        """
        asked = self.registry.skills(access.worker_id) or () if skills is None else skills
        wanted = frozenset(skill for skill in asked if is_user_name(skill) and access.may_run(skill))
        is_drained = partial(self.registry.is_drained, access.worker_id)
        poll = Poll(access.worker_id, wanted, is_authorized=lambda: is_authorized() and not is_drained())
        if is_drained():
            with hold(poll.answered.set):
                poll.answered.wait(min(timeout_seconds, LONGEST_HOLD_SECONDS))
        elif wanted:
            with hold(partial(self.polls.end, poll)):
                self.polls.wait(poll, min(timeout_seconds, LONGEST_HOLD_SECONDS))
        return poll

    def settle(self, worker_id: str, answer: dict[str, Any], *, raw: bytes) -> dict[str, Json]:
        """Accept the result of a task that the worker holds; ignore any other and record a note."""
        digest = sha256(raw).hexdigest()
        task_id = answer["task_id"]
        if self.leases.was_answered(task_id, digest):
            return {"status": "accepted"}
        [lease] = self.leases.find([task_id])
        reason = _rejection_reason(lease, worker_id, answer)
        if lease is not None and reason is None:
            secret = self.keyring.secret
            outgoing = broker.result_message(
                lease.task,
                _result(lease.task, worker_id, answer),
                headers=broker.dead_letter_headers(lease.task, secret),
                signer=secret,
            )
            if self.leases.settle(lease, outgoing, digest=digest) is not SettleStatus.LOST:
                return {"status": "accepted"}
            reason = "the task has a result already, or belongs to another worker"
        self._note(answer["job_id"], task_id, worker_id, reason=str(reason))
        return {"status": "ignored", "reason": "not_held", "message": str(reason)}

    def record_progress(self, worker_id: str, task_id: str, progress: dict[str, Any]) -> dict[str, Json]:
        """Record the progress of a task that the worker holds."""
        if (task := self._leased(worker_id, task_id)) is None:
            return {"status": "error", "message": "the worker does not hold the task"}
        share, message = progress["progress"], progress["message"][:_MAX_MESSAGE]
        self.leases.tell(wire.Progress(task.job_id, task_id, task.attempt, worker_id, share, message))
        return {"status": "event_accepted"}

    def append_stream(self, worker_id: str, task_id: str, chunks: dict[str, Any], attempt: Any) -> dict[str, Json]:
        """Append chunks to the stream of the job of a task of which the worker holds this *attempt*; None is any."""
        task = self._leased(worker_id, task_id)
        if task is None or attempt not in (None, task.attempt):
            return {"status": "error", "message": "the worker does not hold the task"}
        row = (task.job_id, task_id, task.attempt, task.ticket, chunks["run"], chunks["chunks"])
        self.streams.append([wire.StreamChunks(worker_id, [row])])
        return {"status": "event_accepted"}

    def note_refused(self, worker_id: str, answer: dict[str, Any], *, reason: str) -> None:
        """Record a note about a result with a wrong signature if the worker, which is authenticated, holds the task."""
        if (task := self._leased(worker_id, str(answer.get("task_id")))) is not None:
            self._note(task.job_id, task.task_id, worker_id, reason=reason)

    def _leased(self, worker_id: str, task_id: str) -> wire.TaskMessage | None:
        """Return the task if the worker holds it."""
        [lease] = self.leases.find([task_id])
        return lease.task if lease is not None and lease.worker_id == worker_id else None

    def _note(self, job_id: str, task_id: str, worker_id: str, *, reason: str) -> None:
        logger.warning("task %s: result of worker %s rejected: %s", task_id, worker_id, reason)
        if job_of(task_id) == job_id:
            note = {"event_type": "task_result_ignored", "task_id": task_id, "worker_id": worker_id, "reason": reason}
            self.leases.note(job_id, note)


def task_body(poll: Poll, *, now_seconds: float) -> dict[str, Any]:
    """Return a task as the SDK reads it: with integers and objects exactly in their places."""
    task = poll.task
    if task is None:
        raise ValueError("the poll has no task")
    return {
        "job_id": task.job_id,
        "task_id": task.task_id,
        "type": task.task_type,
        "params": dict(task.params),
        "priority": poll.priority,
        "timestamp": int(now_seconds),
        "tracing_context": task.tracing_context or {},
        "attempt": task.attempt,
        "outcomes": list(task.outcomes),
        "client": task.client,
        "deliveries": poll.deliveries,
    }


def _rejection_reason(lease: TaskLease | None, worker_id: str, answer: dict[str, Any]) -> str | None:
    if lease is None or lease.worker_id != worker_id:
        return "the worker does not hold the task"
    if answer["job_id"] != lease.task.job_id:
        return "the task belongs to another job"
    if answer.get("attempt", lease.task.attempt) != lease.task.attempt:
        return "the task is at another attempt"
    return None


def _result(task: wire.TaskMessage, worker_id: str, answer: dict[str, Any]) -> Result:
    seconds = answer["costs"].get("execution_time_seconds")
    is_known = isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds < 1e9
    return Result(
        task.job_id,
        task.task_id,
        task.attempt,
        answer["status"],
        answer["data"],
        answer["error"],
        worker_id,
        round(seconds * 1000) if is_known else None,
    )


def parsed_skills(text: str | None) -> list[str] | None:
    """Split ``a,b`` into a list; None if the query names no skills."""
    return None if text is None else [name for name in text.split(",") if name]


def unvalidated_result(raw: bytes) -> dict[str, Any]:
    """Return a rejected result without validation, to find its task."""
    try:
        body = orjson.loads(raw)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
