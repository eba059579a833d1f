"""Orchestrators on a real server, run step by step by the test, which also acts as the worker."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from time import monotonic
from typing import Any

from avtomatika import Blueprint, broker
from avtomatika.broker import Consumer, Delivery, Outgoing
from avtomatika.core.events import Result
from avtomatika.core.job import Job
from avtomatika.core.plan import REQUESTS, TIMERS, WORKERS
from avtomatika.core.shards import shard_prefixes
from avtomatika.core.signing import WorkerKey
from avtomatika.orchestrator import Orchestrator
from avtomatika.orchestrator.handler_runner import HandlerRunner
from avtomatika.schemas import wire
from avtomatika.store import Keyring, NewJob, Store, Sweeper
from avtomatika.store.cleanups import NO_CLEANUPS
from avtomatika.store.large_values import MAX_JOB_BYTES
from avtomatika.transport.envelope import decode

#: Of installations that do not say otherwise.
SHARDS = int(os.environ.get("TEST_SHARDS", "1"))


class Stage:
    """A server, any number of orchestrators, and jobs of the given blueprints."""

    def __init__(self, url: str, blueprints: Sequence[Blueprint], *, shards: int = SHARDS) -> None:
        self.url = url
        self.blueprints = list(blueprints)
        self.prefixes = shard_prefixes("g0", shards)
        self.connection = broker.connect(url, prefixes=self.prefixes)
        broker.declare(self.connection, [blueprint.plan for blueprint in blueprints])
        self.store = Store.connect(url, prefixes=self.prefixes)
        self._stack = ExitStack()
        self._tasks: Consumer | None = None
        self._taken: deque[Delivery] = deque()
        self.orchestrators: list[Orchestrator] = []

    def orchestrator(
        self, queues: Sequence[str] | None = None, *, blueprints: Sequence[Blueprint] | None = None, **options: Any
    ) -> Orchestrator:
        """Start an orchestrator of *queues* (default: all) of *blueprints* (default: the stage's); *served* are the
        numbers of its shards (default: all)."""
        blueprints = self.blueprints if blueprints is None else list(blueprints)
        broker.declare(self.connection, [blueprint.plan for blueprint in blueprints])
        connection = self._stack.enter_context(broker.connect(self.url, prefixes=self.prefixes))
        names = list(queues or [queue for blueprint in blueprints for queue in blueprint.plan.queues])
        served = [self.prefixes[number] for number in options.pop("served", range(len(self.prefixes)))]
        consumer = Consumer(connection, [WORKERS, TIMERS, REQUESTS, *names], prefetch=100, prefixes=served)
        runner = HandlerRunner(timeout_seconds=options.pop("handler_timeout_seconds", 5))
        server, router = consumer.channel.server, consumer.channel.router
        made = Orchestrator(
            blueprints=blueprints,
            consumer=consumer,
            store=Store(
                server,
                router,
                keyring=Keyring(server, options.pop("secret", None)),
                cleanups=options.pop("cleanups", NO_CLEANUPS),
                max_job_bytes=options.pop("max_job_bytes", MAX_JOB_BYTES),
                notifies=options.pop("notifies", False),
            ),
            sweeper=Sweeper(server, router, prefixes=served),
            runner=runner,
            **options,
        )
        self._stack.callback(runner.close)
        self._stack.callback(consumer.close)
        self.orchestrators.append(made)
        return made

    def end(self, orchestrator: Orchestrator) -> None:
        """Shut *orchestrator* down in order, as a deploy does."""
        self.orchestrators.remove(orchestrator)
        orchestrator.stop()
        orchestrator.run()
        orchestrator._consumer.close()

    def create(self, blueprint: Blueprint, **data: Any) -> str:
        return self.store.create(NewJob(plan=blueprint.plan, client="me", initial_data=data)).job_id

    def job(self, job_id: str) -> Job:
        job = self.store.load(job_id)
        assert job is not None
        return job

    def turn_until(self, reached: Callable[[], object], within_seconds: float = 15) -> None:
        """Run all orchestrators until *reached*."""
        deadline = monotonic() + within_seconds
        while not reached():
            assert monotonic() < deadline, f"not reached within {within_seconds} s"
            for orchestrator in self.orchestrators:
                orchestrator.run_once()

    def turn_until_status(self, job_id: str, *statuses: str) -> Job:
        self.turn_until(lambda: self.job(job_id).status in statuses)
        return self.job(job_id)

    def history(self, job_id: str) -> list[str]:
        """Return event types, with their states if any: ``state_entered start``."""
        entries, _ = self.store.history(job_id)
        return [f"{e.entry.event_type} {e.entry.state or ''}".strip() for e in entries]

    def take_task(self, task_type: str) -> tuple[Delivery, wire.TaskMessage]:
        """Consume the next task of *task_type*, as a worker."""
        if self._tasks is None:
            self._tasks = Consumer(self.connection, [task_type], prefetch=100)
            self._stack.callback(self._tasks.close)
        for _ in range(100):
            if self._taken:
                delivery = self._taken.popleft()
                return delivery, wire.load_task(delivery.body)
            self._taken += self._tasks.take(0.05)
        raise AssertionError(f"no task {task_type!r} came")

    def return_unstarted(self, delivery: Delivery) -> None:
        """Return a task unstarted, as a worker that stops."""
        assert self._tasks is not None
        self._tasks.return_unstarted([delivery])

    def answer(
        self, taken: tuple[Delivery, wire.TaskMessage], *, signer: WorkerKey | None = None, **fields: Any
    ) -> None:
        """Publish the result and acknowledge the task, as a worker."""
        assert self._tasks is not None
        assert self._tasks.settle_many([([_result(taken, fields, signer)], [taken[0].tag])]) == [True]

    def publish_result(self, taken: tuple[Delivery, wire.TaskMessage], **fields: Any) -> None:
        """Publish the result again without the task, as a worker that does not know whether its result arrived."""
        assert self._tasks is not None
        assert self._tasks.settle_many([([_result(taken, fields)], [])]) == [True]

    def tell(self, notice: wire.Notice, routing_key: str) -> None:
        """Publish a notice, as a worker."""
        with self.connection.channel() as channel:
            channel.settle([Outgoing(WORKERS, routing_key, wire.dump_notice(notice))], ())

    def controls(self) -> list[wire.Control]:
        """Return all control messages."""
        entries = self.store._server.execute(("XRANGE", "{avt.g0}:fanout:avt.control", "-", "+"))
        return [wire.load_control(decode(fields[1])["body"]) for _, fields in entries]

    def notices(self) -> int:
        """Return the number of notices in the queue."""
        return int(self.store._server.execute(("XLEN", f"{{avt.g0}}:q:{WORKERS}:0")))

    def close(self) -> None:
        self._stack.close()
        self.store.close()
        self.connection.release()


def _result(
    taken: tuple[Delivery, wire.TaskMessage], fields: dict[str, Any], signer: WorkerKey | None = None
) -> Outgoing:
    delivery, task = taken
    result = Result(task.job_id, task.task_id, task.attempt, **({"status": "success", "worker_id": "w"} | fields))
    return broker.result_message(task, result, headers=broker.forwarded_headers(delivery.headers), signer=signer)
