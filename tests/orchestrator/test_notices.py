"""Notices of workers on the broker reach the registry."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from avtomatika import Worker, broker
from avtomatika.addresses import Address, Mode
from avtomatika.broker import Consumer
from avtomatika.core.plan import WORKERS
from avtomatika.worker.links.broker_link import BrokerLink
from avtomatika.worker.links.identity import Identity, WorkerStatus
from avtomatika.worker.links.scheduler import LinkScheduler
from avtomatika.worker.runtime import Runtime

from ..support.orchestrators import Stage
from .test_loop import film


def test_a_worker_on_the_broker_is_known_while_it_works_and_says_when_it_goes(
    stage: Callable[..., Stage], redis_url: str
) -> None:
    house = stage(film())
    house.orchestrator()
    worker = Worker("video")

    @worker.skill()
    def encode(params: dict[str, Any]) -> None: ...

    link = link_of(worker, redis_url)
    thread = threading.Thread(target=link.run)
    thread.start()
    house.turn_until(lambda: bool(house.store.registry.workers()) and house.store.registry.workers()[0].beat != {})
    [known] = house.store.registry.workers()
    link.stop()
    thread.join()
    house.turn_until(lambda: house.store.registry.workers()[0].status == "offline")

    assert known.worker_id == "w-1"
    assert known.record["skills"] == [{"name": "encode", "schema": {"type": "object"}}]
    assert known.record["costs"] == {"encode": 2}
    assert known.beat["links"] == [{"address": redis_url, "state": "in_use"}]
    assert known.record["version"].startswith("avtomatika ")


def test_old_news_of_workers_is_no_news(stage: Callable[..., Stage], redis_url: str) -> None:
    house = stage(film())
    consumer = Consumer(broker.connect(redis_url), [], prefetch=1)
    identity = Identity(worker_id="w-1", skills={"encode": {}})
    old = broker.registration(identity.registration())
    fresh = broker.registration({**identity.registration(), "worker_id": "w-2"})
    consumer.settle_many([([_expired(old), fresh], ())])

    house.orchestrator()
    house.turn_until(lambda: bool(house.store.registry.workers()) and consumer.message_count(WORKERS) == 0)
    consumer.close()

    assert [worker.worker_id for worker in house.store.registry.workers()] == ["w-2"]


def _expired(outgoing: broker.Outgoing) -> broker.Outgoing:
    return broker.Outgoing(outgoing.exchange, outgoing.routing_key, outgoing.body, ttl_seconds=0)


def link_of(worker: Worker, redis_url: str) -> BrokerLink:
    scheduler = LinkScheduler(Mode.FAILOVER, [Address(redis_url)], capacity=2)
    runtime = Runtime(worker.skills, worker_id="w-1", concurrency=2)
    scheduler.track_running(0, lambda: runtime.running)
    identity = Identity(
        worker_id="w-1",
        skills={name: skill.schema for name, skill in worker.skills.items()},
        costs={"encode": 2},
        concurrency=2,
    )
    return BrokerLink(
        runtime,
        connection=broker.connect(redis_url),
        drain_timeout_seconds=5,
        worker_status=WorkerStatus(identity, scheduler, 0),
    )


def test_tasks_that_were_begun_together_are_each_written_down_once(stage: Callable[..., Stage], redis_url: str) -> None:
    bp = film()
    house = stage(bp)
    house.orchestrator()
    jobs = [house.create(bp, path="/a.mp4") for _ in range(3)]
    for job_id in jobs:
        house.turn_until_status(job_id, "waiting_for_worker")
    tasks = [house.take_task("encode")[1] for _ in jobs]
    consumer = Consumer(broker.connect(redis_url), [], prefetch=1)
    for _ in range(2):
        consumer.settle_many([([broker.tasks_started(tasks, "w-1")], ())])
    house.turn_until(lambda: consumer.message_count(WORKERS) == 0)
    house.turn_until(lambda: all("task_taken start" in house.history(job_id) for job_id in jobs))
    consumer.close()

    assert [house.history(job_id).count("task_taken start") for job_id in jobs] == [1, 1, 1]
    assert {house.store.task_workers([(task.job_id, task.task_id)])[0] for task in tasks} == {"w-1"}
