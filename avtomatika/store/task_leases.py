"""Leases of tasks by workers over HTTP. Any web process can grant, renew, settle and release them.

On the broker, such a worker is the consumer ``http:<worker id>``. Every script checks that it still holds the task
before it changes anything.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from itertools import chain

from avtomatika.core.job import Json
from avtomatika.schemas import wire
from avtomatika.transport import Inspector, Outgoing, RedisClient, Router
from avtomatika.transport.scripts import REQUEUE, Argument, Call

from .live_state import progress_call
from .scripts import LEASE_TASK, RENEW_LEASE, SETTLE_LEASE, note_call, server_errors
from .server_part import ServerPart, checked

#: Lifetime of a lease that is not renewed, and of the digests of a task's results.
_TTL_MS = 24 * 3600 * 1000


class SettleStatus(StrEnum):
    OK = "OK"  # the result is published
    AGAIN = "AGAIN"  # the same result was accepted before: the worker missed the first response
    LOST = "LOST"  # the worker does not hold the task


@dataclass(frozen=True, slots=True)
class NewLease:
    """A delivery, by its tag, to lease to a worker; *notice* notifies the orchestrators."""

    tag: str
    task: wire.TaskMessage
    worker_id: str
    notice: Outgoing


@dataclass(frozen=True, slots=True)
class TaskLease:
    """*is_named* is True once the worker has listed the task as running."""

    task: wire.TaskMessage
    worker_id: str
    tag: str
    handed_ms: int
    is_named: bool


class TaskLeases(ServerPart):
    """Thread-safe."""

    def __init__(self, server: RedisClient) -> None:
        super().__init__(server)
        self._router = Router(server)
        self._inspector = Inspector(server, self._router)

    def lease(self, given: Sequence[NewLease], *, holder: str) -> list[bool]:
        """Lease deliveries of consumer *holder* to workers. False if it no longer has one, which is then unchanged."""
        call = partial(self._lease_call, holder=holder)
        return checked(self._run_routed(self._router, given, call, lambda _, answer: answer == b"OK"))

    def messages(self, tags: Sequence[str]) -> list[wire.TaskMessage | None]:
        """Return the task of each delivery; None if the delivery no longer exists or is not a task."""
        with server_errors():
            return [_task(body) for body in self._inspector.messages(tags)]

    def of(self, worker_id: str) -> list[TaskLease]:
        """Return the known leases of *worker_id*."""
        names = self._read([("SMEMBERS", keys.held_by(worker_id)) for keys in self._keys.shards])
        found = self.find([name.decode() for name in chain(*names)])
        return [lease for lease in found if lease is not None and lease.worker_id == worker_id]

    def find(self, task_ids: Sequence[str]) -> list[TaskLease | None]:
        """Return the lease of each task, in order."""
        rows = self._read(
            [("HMGET", self._keys.of(each).held(each), "worker", "tag", "message", "at", "named") for each in task_ids]
        )
        return [_lease(row) for row in rows]

    def renew(self, leases: Sequence[TaskLease]) -> list[bool]:
        """Renew leases; False if the worker no longer holds the task."""
        return [answer == 1 for answer in self._run_all([self._renew_call(each) for each in leases])]

    def are_cancelled(self, leases: Sequence[TaskLease]) -> list[bool]:
        """Return, for each lease, True if the job has finished or has closed the task."""
        commands: list[tuple[str, ...]] = []
        for each in leases:
            job_id, keys = each.task.job_id, self._keys.of(each.task.job_id)
            commands += [("HGET", keys.job(job_id), "v"), ("HGET", keys.tasks(job_id), each.task.task_id)]
        answers = self._read(commands)
        pairs = zip(answers[::2], answers[1::2], leases, strict=True)
        return [version is not None and attempt != b"%d" % each.task.attempt for version, attempt, each in pairs]

    def release(self, leases: Collection[TaskLease]) -> None:
        """Requeue tasks that were not started, without counting a delivery."""
        self._run_all([self._release_call(each) for each in leases])
        tasks = [(each.worker_id, each.task.task_id) for each in leases]
        self._read([("SREM", self._keys.of(task_id).held_by(worker), task_id) for worker, task_id in tasks])

    def settle(self, lease: TaskLease, outgoing: Outgoing, *, digest: str) -> SettleStatus:
        """Publish a task's result and acknowledge the task, if its worker holds it; *digest* identifies the result."""
        call = partial(self._settle_call, outgoing=outgoing, digest=digest)

        def read(_: TaskLease, answer: bytes) -> SettleStatus:
            return SettleStatus(answer.decode())

        return checked(self._run_routed(self._router, [lease], call, read))[0]

    def was_answered(self, task_id: str, digest: str) -> bool:
        """Return True if the result with *digest* was accepted."""
        [found] = self._read([("SISMEMBER", self._keys.of(task_id).answers(task_id), digest)])
        return bool(found)

    def note(self, job_id: str, note: Json) -> None:
        """Add *note* to the notes of a job, if the job exists."""
        self._run(note_call(self._keys, job_id, note))

    def tell(self, progress: wire.Progress) -> None:
        """Record the progress of a task, if that attempt is open."""
        self._run(progress_call(progress, keys=self._keys))

    def broker_id(self) -> str:
        """Return the id of the server, which does not depend on its address."""
        with server_errors():
            return self._router.identity

    def now_ms(self) -> int:
        """Return the server's time in ms since the epoch."""
        return self._now_ms()

    def _lease_call(self, given: NewLease, holder: str) -> Call:
        stream, entry = self._router.parse_tag(given.tag)
        task_id, worker_id = given.task.task_id, given.worker_id
        keys = self._keys.of(task_id)
        bindings, notice_stream, notice = _routing(given.notice, router := self._router.of(keys.prefix))
        own = [keys.held(task_id), keys.held_by(worker_id), router.keys.queues, bindings, notice_stream]
        task = wire.dump_task(replace(given.task, params={}))  # they remain in the entry of the queue
        args = [holder, entry, _consumer(worker_id), worker_id, task_id, given.tag, task, _TTL_MS, *notice]
        return Call(LEASE_TASK, [stream, *own], args)

    def _settle_call(self, lease: TaskLease, outgoing: Outgoing, digest: str) -> Call:
        stream, entry = self._router.parse_tag(lease.tag)
        worker_id, task_id = lease.worker_id, lease.task.task_id
        keys = self._keys.of(task_id)
        bindings, result_stream, result = _routing(outgoing, router := self._router.of(keys.prefix))
        own = [keys.held(task_id), keys.answers(task_id), keys.held_by(worker_id)]
        args = [_consumer(worker_id), entry, worker_id, task_id, digest, _TTL_MS, *result]
        return Call(SETTLE_LEASE, [*own, stream, router.keys.queues, bindings, result_stream], args)

    def _renew_call(self, lease: TaskLease) -> Call:
        stream, entry = self._router.parse_tag(lease.tag)
        worker_id, task_id = lease.worker_id, lease.task.task_id
        own = [self._keys.of(task_id).held(task_id), self._keys.of(task_id).held_by(worker_id)]
        return Call(RENEW_LEASE, [stream, *own], [_consumer(worker_id), entry, _TTL_MS, task_id])

    def _release_call(self, lease: TaskLease) -> Call:
        stream, entry = self._router.parse_tag(lease.tag)
        args: list[Argument] = [_consumer(lease.worker_id), 0, entry]
        return Call(REQUEUE, [stream], args)


def _routing(outgoing: Outgoing, router: Router) -> tuple[str, str, list[Argument]]:
    """Return the key of the bindings, the stream, and [bindings version, queue, level, payload]. Our exchanges are
    direct, and each routing key has one queue."""
    route = router.route(outgoing.exchange, outgoing.routing_key)
    [queue] = route.queues
    stream = router.stream(queue, outgoing.priority)
    args: list[Argument] = [route.version, queue, outgoing.priority, router.encode(outgoing)]
    return route.bindings_key, stream, args


def _consumer(worker_id: str) -> str:
    return f"http:{worker_id}"


def _task(body: bytes | None) -> wire.TaskMessage | None:
    try:
        return None if body is None else wire.load_task(body)
    except wire.InvalidMessageError:
        return None


def _lease(row: Sequence[bytes | None]) -> TaskLease | None:
    worker, tag, message, at, named = row
    if worker is None or tag is None or message is None or at is None:
        return None
    return TaskLease(wire.load_task(message), worker.decode(), tag.decode(), int(at), named is not None)
