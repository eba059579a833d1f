"""Tasks for Celery workers, whose part the test plays, on a real server."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis

from avtomatika.broker import Consumer, Delivery, Outgoing
from avtomatika.core.blueprint.single_tasks import SINGLE_TASKS
from avtomatika.core.explain.why import explain
from avtomatika.core.job import JobStatus
from avtomatika.core.plan import REPLIES, TASKS
from avtomatika.schemas import wire
from avtomatika.store import NewJob

from ..support.orchestrators import Stage


class House(Stage):
    """A stage with the skill ``resize``, which Celery workers have, and ``encode``, which others have."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, [SINGLE_TASKS], **options)
        self.celery: Any = None
        self.redis = redis.Redis.from_url(url, decode_responses=True)
        self._stack.callback(self.redis.close)
        queues = [*SINGLE_TASKS.plan.queues, "resize", REPLIES]
        self.orchestrator(queues, celery_tasks={"resize": ("shop.resize", "celery")})
        self.orchestrators[0]._consumer.declare_tasks(["resize", "encode"])

    def start(self, skill: str = "resize", **options: Any) -> str:
        new = NewJob(plan=SINGLE_TASKS.plan, client="me", skill=skill, initial_data={"image": "a"}, **options)
        return self.store.create(new).job_id

    def take_of_celery(self) -> Delivery:
        """Take the next message of Celery's queue, as a Celery worker."""
        self.turn_until(lambda: any(self.redis.keys("{avt.g0}:q:celery:[0-9]")))
        if self.celery is None:
            self.celery = Consumer(self.connection, ["celery"], prefetch=10)
            self._stack.callback(self.celery.close)
        [delivery] = self.celery.take(5)
        return delivery

    def reply(self, delivery: Delivery, state: str, result: Any, **changes: Any) -> None:
        """Publish what Celery's rpc:// backend does."""
        reply = {"task_id": delivery.headers["id"], "status": state, "result": result, "traceback": None} | changes
        properties = {"correlation_id": delivery.properties["correlation_id"]}
        with self.connection.channel() as channel:
            channel.settle(
                [Outgoing("", delivery.properties["reply_to"], json.dumps(reply), properties=properties)], ()
            )

    def dead_reasons(self, queue: str) -> list[str]:
        return [fields["reason"] for _, fields in self.redis.xrange(f"{{avt.g0}}:q:{queue}:dead")]


@pytest.fixture
def house(redis_url: str) -> Any:
    made = House(redis_url)
    yield made
    made.close()


def test_a_task_carries_the_trace_of_its_job(house: House) -> None:
    context = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    house.start(traceparent=context)

    assert house.take_of_celery().headers["traceparent"] == context


def test_a_task_is_a_message_of_celerys_protocol_2(house: House) -> None:
    job_id = house.start(priority=4, result_timeout_seconds=30)

    delivery = house.take_of_celery()

    assert json.loads(delivery.body)[:2] == [[], {"image": "a"}]
    assert (delivery.headers["task"], delivery.headers["id"]) == ("shop.resize", f"{job_id}.1.0/1")
    assert delivery.headers["timelimit"] == [30, None]
    assert (delivery.properties["reply_to"], delivery.tag.split("/")[0]) == (REPLIES, "{avt.g0}:q:celery:4")
    house.turn_until(lambda: house.redis.zcard("{avt.g0}:timers") == 1)  # the result timeout
    house.reply(delivery, "STARTED", None)
    house.reply(delivery, "SUCCESS", [1, 2])
    house.reply(delivery, "SUCCESS", [1, 2])
    assert house.turn_until_status(job_id, JobStatus.FINISHED).result == {"result": [1, 2]}
    house.turn_until(lambda: house.redis.xlen(f"{{avt.g0}}:q:{REPLIES}:0") == 0)


def test_failures_are_retried_and_revoked_tasks_are_not(house: House) -> None:
    job_id = house.start(max_retries=1)
    house.reply(house.take_of_celery(), "FAILURE", {"exc_type": "OSError", "exc_message": ["no disk"]})
    house.turn_until(lambda: "task_retried run" in house.history(job_id))
    with redis.Redis.from_url(house.url) as server:
        server.zadd("{avt.g0}:timers", dict.fromkeys(server.zrange("{avt.g0}:timers", 0, -1), 0))
    house.turn_until(lambda: house.redis.xlen("{avt.g0}:q:celery:0") == 2)

    second = house.take_of_celery()
    house.reply(second, "REVOKED", {"exc_type": "TaskRevokedError", "exc_message": ["terminated"]})

    assert second.headers["id"].endswith("/2")
    job = house.turn_until_status(job_id, JobStatus.FAILED)
    assert (job.error or {})["message"] == "TaskRevokedError: ['terminated']"


def test_forged_replies_and_forged_tasks_change_nothing(house: House) -> None:
    job_id, other = house.start(), house.start("encode")
    delivery, (_, task) = house.take_of_celery(), house.take_task("encode")
    forged = {**delivery.properties, "correlation_id": f"{task.reply_prefix} {'0' * 32}"}

    house.reply(Delivery("", "", b"", delivery.headers, 1, properties=forged), "SUCCESS", 1)
    house.reply(delivery, "SUCCESS", 1, task_id=17)
    # a worker that is not Celery's needs its own signature
    own = {"reply_to": REPLIES, "correlation_id": f"{task.reply_prefix} {task.ticket}"}
    house.reply(Delivery("", "", b"", {"id": f"{task.task_id}/1"}, 1, properties=own), "SUCCESS", 1)
    without_ticket = wire.dump_task(wire.TaskMessage("g0-1", "g0-1.1.0", 1, "resize", {}, (), "avt.steps", "a@b.c"))
    with house.connection.channel() as channel:
        channel.settle([Outgoing(TASKS, "resize", without_ticket)], ())
    house.turn_until(
        lambda: not house.redis.xlen(f"{{avt.g0}}:q:{REPLIES}:0") + house.redis.xlen("{avt.g0}:q:resize:0")
    )

    assert house.dead_reasons(REPLIES) == ["forged", "malformed"]
    assert house.dead_reasons("resize") == ["forged"]
    assert [house.job(each).status for each in (job_id, other)] == ["waiting_for_worker"] * 2


def test_a_cancelled_job_drops_its_message_from_celerys_queue(house: House) -> None:
    job_id = house.start()
    house.turn_until(lambda: house.redis.exists("{avt.g0}:q:celery:0"))

    house.store.signal(house.job(job_id), "cancel", by="me")
    house.turn_until_status(job_id, JobStatus.CANCELLED)

    consumer = Consumer(house.connection, ["celery"], prefetch=1)
    assert consumer.take(0.1) == []
    consumer.close()
    assert house.redis.xlen("{avt.g0}:q:celery:0") == 0


def test_a_dead_letter_of_celerys_queue_quarantines_the_job(house: House) -> None:
    job_id = house.start()
    delivery = house.take_of_celery()
    house.turn_until(lambda: house.redis.hexists(f"{{avt.g0}}:job:{job_id}:tasks", f"{job_id}.1.0/worker"))
    why = explain(house.store.job_facts.facts(house.job(job_id)))

    house.celery.dead_letter(delivery, reason="deliveries")

    assert "Worker 'celery' runs its task 'resize' (attempt 1)" in str(why)
    assert "no heartbeat" not in str(why)
    assert house.turn_until_status(job_id, JobStatus.QUARANTINED).error is not None


def test_tasks_of_all_shards_go_to_celerys_queue_at_home_and_their_results_back(redis_url: str) -> None:
    there = House(redis_url, shards=4)
    done, dead = there.start(unique_key="a"), there.start(unique_key="h")
    there.turn_until(lambda: there.redis.xlen("{avt.g0}:q:celery:0") == 2)
    celery = Consumer(there.connection, ["celery"], prefetch=10, prefixes=there.prefixes[:1])

    for delivery in celery.take(5):
        if delivery.headers["id"].startswith(done):
            there.reply(delivery, "SUCCESS", 3)
        else:
            celery.dead_letter(delivery, reason="deliveries")

    assert not any(job_id.startswith("g0-") for job_id in (done, dead))
    assert there.turn_until_status(done, JobStatus.FINISHED).result == {"result": 3}
    assert there.turn_until_status(dead, JobStatus.QUARANTINED).error is not None
    celery.close()
    there.close()
