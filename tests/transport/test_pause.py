"""Paused queues: no consumer takes from them, and their messages wait in order."""

from __future__ import annotations

from typing import Any

import pytest

from avtomatika.transport import Inspector, RedisClient, Router, Topology

from .conftest import LEASE_SECONDS


@pytest.fixture
def topology(bench: Any, redis_url: str) -> Any:
    server = RedisClient.connect(redis_url)
    yield Topology(server, Router(server))
    server.close()


def test_no_consumer_takes_from_a_paused_queue(bench: Any, topology: Topology) -> None:
    bench.queue()
    bench.queue("others")
    before = bench.read("tasks", "others")
    before.drain(0.05)

    topology.set_paused("tasks", "ops")
    bench.publish(1, 2)
    bench.publish("other", key="others")
    after = bench.read("tasks", "others")
    before.drain_until(lambda: "other" in before.bodies + after.bodies or after.drain(0.05))
    for _ in range(5):
        before.drain(0.05)
        after.drain(0.05)

    assert before.bodies + after.bodies == ["other"]
    assert bench.left() == 2


def test_messages_of_a_resumed_queue_are_delivered_in_order(bench: Any, topology: Topology) -> None:
    bench.queue()
    bench.publish(1)
    reading = bench.read(prefetch=10)
    reading.wait_for(1)
    topology.set_paused("tasks", "ops")
    bench.publish(2, 3)
    bench.publish("urgent", priority=9)
    bench.publish("delayed", headers={"x-delay": 1})
    for _ in range(5):
        reading.drain(0.05)
    seen = list(reading.bodies)

    topology.set_paused("tasks", "")
    reading.wait_for(4)

    assert seen == [1]
    assert reading.bodies[:4] == [1, "urgent", 2, 3]
    reading.wait_for(5)


def test_a_message_taken_before_the_pause_can_be_acknowledged(bench: Any, topology: Topology) -> None:
    bench.queue()
    bench.publish(1)
    reading = bench.read()
    reading.wait_for(1)

    topology.set_paused("tasks", "ops")
    reading.got[0].ack()

    reading.drain_until(lambda: bench.left() == 0)


def test_an_expired_lease_of_a_paused_queue_is_not_reclaimed_until_it_is_resumed(
    bench: Any, topology: Topology
) -> None:
    bench.queue()
    bench.publish("lost")
    bench.redis.xgroup_create("{avt.g0}:q:tasks:0", "avt", "0")
    other = bench.read()
    topology.set_paused("tasks", "ops")
    other.drain(0.05)
    bench.redis.xreadgroup("avt", "dead", {"{avt.g0}:q:tasks:0": ">"})
    [entry] = bench.redis.xpending_range("{avt.g0}:q:tasks:0", "avt", "-", "+", 1)
    expired = int(LEASE_SECONDS * 10_000)
    bench.redis.execute_command("XCLAIM", "{avt.g0}:q:tasks:0", "avt", "dead", 0, entry["message_id"], "IDLE", expired)
    bench.beat()

    late = bench.read()
    for _ in range(10):
        other.drain(0.1)
        late.drain(0.05)
    kept = other.bodies + late.bodies
    topology.set_paused("tasks", "")
    other.drain_until(lambda: late.drain(0.05) or other.bodies + late.bodies == ["lost"])

    assert kept == []


def test_stats_say_who_paused_a_queue_first(bench: Any, topology: Topology, redis_url: str) -> None:
    bench.queue()
    server = RedisClient.connect(redis_url)
    inspector = Inspector(server, Router(server))

    topology.set_paused("tasks", "first ops")
    topology.set_paused("tasks", "second ops")
    [paused] = inspector.stats(["tasks"])
    topology.set_paused("tasks", "")
    [resumed] = inspector.stats(["tasks"])
    server.close()

    assert paused.paused_by == "first ops"
    assert abs((paused.paused_ms or 0) - bench.redis.time()[0] * 1000) < 60_000
    assert (resumed.paused_ms, resumed.paused_by) == (None, None)


def test_a_deleted_queue_is_not_paused_when_it_is_declared_again(bench: Any, topology: Topology) -> None:
    bench.queue()
    topology.set_paused("tasks", "ops")
    topology.delete_queue("tasks")
    bench.queue()
    bench.publish(1)

    bench.read().wait_for(1)

    assert bench.redis.hgetall("{avt.g0}:limits") == {}


def test_only_existing_queues_without_broadcasts_can_be_paused(bench: Any, topology: Topology) -> None:
    bench.queue("news", exchange="all", kind="fanout")
    bench.queue()

    assert topology.set_paused("news", "ops") == -1
    assert topology.set_paused("no such", "ops") == 0
    assert topology.set_paused("tasks", "ops") == 1
