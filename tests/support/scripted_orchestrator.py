"""The orchestrator's side of the broker, as a test plays it: sends tasks, and reads results and notices."""

from __future__ import annotations

from dataclasses import replace
from time import monotonic, sleep
from typing import Any

import redis

from avtomatika import Blueprint, broker
from avtomatika.broker import Consumer, Delivery, Outgoing
from avtomatika.core.events import Event, Result
from avtomatika.core.plan import STEPS, TASKS, WORKERS
from avtomatika.core.shards import shard_name, shard_prefixes
from avtomatika.core.signing import GroupSecret
from avtomatika.files.skill_files import Files
from avtomatika.files.task_files import TaskFiles
from avtomatika.files.task_storage import TaskStorage
from avtomatika.schemas import wire
from avtomatika.worker.context import TaskContext
from avtomatika.worker.task_stream import TaskStream

DEADLINE_SECONDS = 30

bp = Blueprint("video")


@bp.handler(is_start=True)
def ask(actions: Any) -> None:
    actions.dispatch_task("work", transitions={"success": "done", "failure": "failed", "needs_review": "review"})


@bp.handler(is_end=True)
def done() -> None: ...


@bp.handler(is_end=True)
def review() -> None: ...


@bp.handler(is_end="failed")
def failed() -> None: ...


class Office:
    """Sends tasks of the blueprint's first state, and receives results and notices, on one broker."""

    def __init__(self, url: str, *, lease_seconds: float = 30, shards: int = 1) -> None:
        self.prefixes = shard_prefixes("g0", shards)
        self._connection = broker.connect(url, prefixes=self.prefixes, lease_seconds=lease_seconds)
        self._redis = redis.Redis.from_url(url)
        self._intakes: dict[str, Consumer] = {}
        broker.declare(self._connection, [bp.plan])
        broker.declare_tasks(self._connection, ["work", "sync_work", "@worker-1"])

    def give(self, *params: dict[str, Any], task_type: str = "work", queue: str | None = None) -> None:
        """Publish a task for each of *params*, numbered from 0, as any program that speaks kombu could do it."""
        with self._connection.Producer() as producer:
            for number, each in enumerate(params):
                self.publish(producer, wire.dump_task(task(number, each, task_type=task_type)), queue or task_type)

    def give_in(
        self, shard: int, *params: dict[str, Any], queue: str = "work", secret: GroupSecret | None = None
    ) -> None:
        """Publish a task of the job of *shard* for each of *params*, numbered from 10 times *shard*; with *secret* it
        has a ticket."""
        job_id = f"{shard_name(self.prefixes[shard])}-1"
        with self._connection.channel() as channel:
            for number, each in enumerate(params, start=10 * shard):
                given = replace(task(number, each), job_id=job_id, task_id=f"{job_id}.{number}.0")
                given = replace(given, ticket=secret.ticket(given.task_id, given.attempt)) if secret else given
                body, headers = wire.dump_task(given), {"x-group": job_id}
                channel.settle([Outgoing(TASKS, queue, body, headers=headers, shard=self.prefixes[shard])], ())

    @staticmethod
    def publish(producer: Any, body: str, routing_key: str) -> None:
        producer.publish(
            body,
            exchange=TASKS,
            routing_key=routing_key,
            content_type="application/json",
            content_encoding="utf-8",
            headers={"x-group": "g0-1"},
        )

    def give_text(self, body: str, task_type: str = "work") -> None:
        """Publish something that need not be a task."""
        with self._connection.Producer() as producer:
            self.publish(producer, body, task_type)

    def bind(self, routing_key: str) -> None:
        """Lead the results with *routing_key* to where the others go."""
        with self._connection.channel() as channel:
            channel.queue_bind(bp.plan.main_queue, STEPS, routing_key)

    def results(self, count: int) -> list[Result]:
        """The next *count* results, by task id, and acknowledged."""
        events: list[Event] = [wire.load_event(delivery.body) for delivery in self.take(bp.plan.main_queue, count)]
        results = [event for event in events if isinstance(event, Result)]
        assert len(results) == count
        return sorted(results, key=lambda result: int(result.task_id.split(".")[1]))

    def notices(self, count: int) -> list[wire.Notice]:
        """The next *count* notices of workers; one of several tasks counts for as many."""
        found: list[wire.Notice] = []
        while len(found) < count:
            [delivery] = self.take(WORKERS, 1)
            notice = wire.load_notice(delivery.body)
            found += notice.taken if isinstance(notice, wire.TasksStarted) else [notice]
        assert len(found) == count
        return found

    def wait_for_listeners(self, count: int) -> None:
        """Wait until *count* workers receive control messages."""
        deadline = monotonic() + DEADLINE_SECONDS
        while (listeners := self._redis.hlen("{avt.g0}:bindings:avt.control") - 1) != count and (listeners, count) != (
            -1,
            0,
        ):
            assert monotonic() < deadline, f"{listeners} workers listen, not {count}"
            sleep(0.01)

    def tell_workers(self, *controls: wire.Control) -> None:
        with self._connection.channel() as channel:
            channel.settle([broker.control_message(control) for control in controls], ())

    def take(self, queue: str, count: int) -> list[Delivery]:
        """The next *count* messages of *queue*, acknowledged."""
        if queue not in self._intakes:
            self._intakes[queue] = Consumer(self._connection, [queue], prefetch=count)
        intake = self._intakes[queue]
        taken: list[Delivery] = []
        deadline = monotonic() + DEADLINE_SECONDS
        while len(taken) < count and monotonic() < deadline:
            intake.set_prefetch(count - len(taken))
            deliveries = intake.take(0.5)
            intake.settle_many([((), [delivery.tag]) for delivery in deliveries])
            taken += deliveries
        assert len(taken) == count, f"{len(taken)} of {count} messages came to {queue!r}; {self._describe()}"
        return taken

    def _describe(self) -> str:
        """Return the heartbeat and the consumers of every queue, for failures."""
        consumers = {key: self._redis.xinfo_consumers(key, "avt") for key in self._redis.scan_iter("{avt.g0}:q:*:0")}
        return f"consumers {consumers}, heartbeat {self._redis.hgetall('{avt.g0}:beat')}, time {self._redis.time()}"

    def nothing_comes(self, queue: str, *, seconds: float) -> None:
        """Assert that no message of *queue* is redelivered within *seconds* to a second consumer."""
        intake = Consumer(self._connection, [queue], prefetch=1)
        deadline = monotonic() + seconds
        while monotonic() < deadline:
            assert intake.take(0.5) == []
        intake.close()

    def depth(self, queue: str) -> int:
        """Return the number of messages of priority 0 in *queue*, including unacknowledged ones."""
        return int(self._redis.xlen(f"{{avt.g0}}:q:{queue}:0"))

    def dead_letters(self, queue: str) -> list[dict[bytes, bytes]]:
        """The dead letters of *queue*, once there are any."""
        deadline = monotonic() + DEADLINE_SECONDS
        last = "0"
        while monotonic() < deadline:
            found = self._redis.xread({f"{{avt.g0}}:q:{queue}:dead": last}, block=500)
            if found:
                [(_, entries)] = found
                return [fields for _, fields in entries]
        raise AssertionError(f"nothing came to the dead letters of {queue!r}")

    def fill(self) -> None:
        """Make the server refuse commands that need memory."""
        self._redis.config_set("maxmemory", 1)

    def take_away(self, queue: str, task_id: str) -> None:
        """Assign a delivered task to another consumer, as a sweep does after its lease has expired."""
        stream = f"{{avt.g0}}:q:{queue}:0"
        [entry] = [entry for entry, fields in self._redis.xrange(stream) if task_id.encode() in fields[b"p"]]
        self._redis.xclaim(stream, "avt", "somebody-else", 0, [entry])

    def close(self) -> None:
        for intake in self._intakes.values():
            intake.close()
        self._connection.release()
        self._redis.close()


def task(number: int, params: dict[str, Any], *, task_type: str = "work") -> wire.TaskMessage:
    """The task with that number of job ``g0-1``."""
    return wire.TaskMessage(
        job_id="g0-1",
        task_id=f"g0-1.{number}.0",
        attempt=1,
        task_type=task_type,
        params=params,
        outcomes=("success", "failure", "timeout", "cancelled", "needs_review"),
        reply_exchange="avt.steps",
        reply_prefix=f"video@{bp.plan.plan_hash}.ask",
    )


def context(message: wire.TaskMessage) -> TaskContext:
    """Return the context of a skill for *message*; its progress is discarded."""
    files = Files(TaskFiles(TaskStorage.without_s3(), message))
    stream = TaskStream(lambda chunk: None)
    return TaskContext(message, "worker-1", lambda share, text: None, lambda: False, lambda: stream, files)
