"""A store on the real server, with a declared plan and a consumer that holds its deliveries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import redis

from avtomatika import Blueprint, broker
from avtomatika.broker import Consumer, Delivery
from avtomatika.core.blueprint.action_types import DispatchTask, End
from avtomatika.core.events import Event, Result, Start
from avtomatika.core.job import Job
from avtomatika.core.machine import decisions, machine
from avtomatika.core.shards import shard_prefixes
from avtomatika.core.step import Step
from avtomatika.schemas import wire
from avtomatika.store import Cause, Commit, CommitReply, NewJob, Store, Sweeper
from avtomatika.store.keys import Keys
from avtomatika.transport import Outgoing, RedisClient, Router, connect

from ..support.orchestrators import SHARDS
from ..support.servers import in_shards

bp = Blueprint(name="video", api_endpoint="jobs/video")


@bp.handler(is_start=True)
def start(actions: Any) -> None:
    actions.dispatch_task("encode", {"n": 1}, transitions={"success": "publish", "failure": "failed"})


@bp.handler(is_end=True)
def publish() -> None: ...


@bp.handler(is_end="failed")
def failed() -> None: ...


@dataclass
class House:
    """Everything a test of the store touches."""

    url: str
    connection: Any
    intake: Consumer
    store: Store
    sweeper: Sweeper
    client: redis.Redis

    def create(self, **fields: Any) -> Job:
        created = self.store.create(NewJob(plan=bp.plan, client="me", **fields))
        return self.job(created.job_id)

    def job(self, job_id: str) -> Job:
        job = self.store.load(job_id)
        assert job is not None
        return job

    def take(self, count: int = 1) -> list[Delivery]:
        """Wait until *count* deliveries have come."""
        taken: list[Delivery] = []
        for _ in range(100):
            taken += self.intake.take(0.05)
            if len(taken) >= count:
                return taken
        raise AssertionError(f"{len(taken)} of {count} deliveries came")

    def keys(self, job_id: str) -> Keys:
        """The keys of the shard of a job."""
        return self.store._keys.of(job_id)

    def router(self, job_id: str) -> Router:
        """The router of the shard of a job."""
        return self.intake.channel.router.of(self.keys(job_id).prefix)

    def settle(self, commit: Commit) -> CommitReply:
        [reply] = self.store.commit([commit])
        return reply

    def started(self) -> tuple[Job, Delivery, Step]:
        """A new job, the delivery of its start, and the step in which its first state dispatches its task."""
        job = self.create()
        [delivery] = self.take()
        return job, delivery, dispatch(job, delivery)

    def waiting(self) -> Job:
        """A job whose task has been dispatched."""
        job, delivery, step = self.started()
        assert self.settle(Commit(job, step, (cause(delivery),))).answer == "OK"
        return self.job(job.id)

    def send(self, event: Event, outcome: str = "success") -> Delivery:
        """Have *event* come by the key of the start state's outcome."""
        key, shard = bp.plan.key("start", outcome), self.keys(event.job_id).prefix
        self.intake.channel.settle([Outgoing("avt.steps", key, wire.dump_event(event), shard=shard)], ())
        [delivery] = self.take()
        return delivery


def cause(delivery: Delivery) -> Cause:
    event = wire.load_event(delivery.body)
    return Cause(delivery.tag, event.id, (event.task_id, event.attempt) if isinstance(event, Result) else None)


def dispatch(job: Job, delivery: Delivery) -> Step:
    """The step of a start event whose handler dispatches."""
    plan = bp.plan
    step = machine.advance(plan, job, Start(job.id), queue=delivery.queue)
    action = DispatchTask("encode", {"n": 1}, transitions={"success": "publish", "failure": "failed"})
    return step.then(decisions.decide(plan, step.job, action, queue=delivery.queue, patch={}))


def finish(job: Job, event: Result, delivery: Delivery) -> Step:
    """The step of a result whose state ends the job."""
    plan = bp.plan
    step = machine.advance(plan, job, event, queue=delivery.queue)
    return step.then(decisions.decide(plan, step.job, End("done"), queue=delivery.queue, patch={}))


def result_of(job: Job, **fields: Any) -> Result:
    [task] = job.tasks.values()
    return Result(job.id, task.id, **({"attempt": task.attempt, "status": "success", "data": {"output": "x"}} | fields))


#: Modules whose tests run with one shard and with several.
IN_SHARDS = {"test_commit", "test_job_streams", "test_large_values", "test_retention", "test_store"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "house" in metafunc.fixturenames and metafunc.module.__name__.rpartition(".")[2] in IN_SHARDS:
        metafunc.parametrize("house", [1, 4], ids=["1 shard", "4 shards"], indirect=True)


@pytest.fixture
def house(redis_url: str, request: pytest.FixtureRequest) -> Iterator[House]:
    prefixes = shard_prefixes("g0", getattr(request, "param", SHARDS))
    address = in_shards(redis_url, len(prefixes))
    with broker.connect(address, prefixes=prefixes) as connection, connect(redis_url) as client:
        broker.declare(connection, [bp.plan])
        intake = Consumer(connection, list(bp.plan.queues), prefetch=100)
        server, router = intake.channel.server, intake.channel.router
        store = Store(server, router, job_ttl_seconds=3600)
        yield House(redis_url, connection, intake, store, Sweeper(server, router), client)
        intake.close()


class CountingClient(RedisClient):
    """Counts its round trips."""

    round_trips = 0

    def execute(self, *args: Any) -> Any:
        self.round_trips += 1
        return super().execute(*args)

    def pipeline(self, commands: Any, **options: Any) -> list[Any]:
        self.round_trips += bool(commands)
        return super().pipeline(commands, **options)
