"""Expiry of messages and queues: ``expiration``, ``x-message-ttl``, ``x-expires``, ``auto_delete``."""

from __future__ import annotations

from typing import Any

import pytest
from kombu import Exchange, Queue

from avtomatika.transport import IF_EMPTY, Outgoing


def let_pass(bench: Any, *, milliseconds: int) -> None:
    """Wait by the server's clock: for a replica that does not exist."""
    bench.redis.wait(1, milliseconds)


def test_an_expired_message_is_dropped(bench: Any) -> None:
    bench.queue()
    bench.publish("late", expiration=0.001)
    bench.publish("in time", expiration=60)
    let_pass(bench, milliseconds=5)

    reading = bench.read()
    reading.wait_for(1)[0].ack()

    assert reading.bodies == ["in time"]
    reading.drain_until(lambda: bench.left() == 0)


def test_an_expired_message_of_celery_is_delivered(bench: Any) -> None:
    """Celery's worker marks the task as revoked for callers that wait for its result."""
    bench.queue()
    bench.publish("late", expiration=0.001, headers={"expires": "2026-01-01T00:00:00+00:00"})
    let_pass(bench, milliseconds=5)

    assert bench.read().wait_for(1)[0].payload == "late"


def test_requeueing_does_not_extend_the_time_to_live(bench: Any) -> None:
    bench.queue()
    bench.publish(1, expiration=0.3)
    reading = bench.read()
    reading.wait_for(1)[0].requeue()
    [(_, fields)] = bench.redis.xrange("{avt.g0}:q:tasks:0")
    published = int(fields["x"]) - 300

    assert published <= bench.redis.time()[0] * 1000 + 1000
    let_pass(bench, milliseconds=400)
    reading.drain_until(lambda: bench.left() == 0)
    assert len(reading.got) == 1


def test_the_time_to_live_of_a_delayed_message_starts_when_it_is_due(bench: Any) -> None:
    bench.queue()
    bench.publish(1, headers={"x-delay": 100}, expiration=60)

    [message] = bench.read().wait_for(1)

    assert message.payload == 1
    assert bench.redis.hkeys("{avt.g0}:q:tasks:delayed") == [":count"]


def test_the_time_to_live_of_a_queue_limits_its_messages(bench: Any) -> None:
    channel = bench.channel()
    Queue("tasks", Exchange("work"), routing_key="tasks", message_ttl=0.001)(channel).declare()
    bench.publish(1, expiration=60)
    channel.settle([Outgoing("work", "tasks", "2")], [])
    let_pass(bench, milliseconds=5)

    reading = bench.read()

    assert reading.drain(0.05) == []
    assert bench.left() == 0


def test_expired_messages_of_a_fanout_are_skipped(bench: Any) -> None:
    channel = bench.channel()
    Queue("q", Exchange("control", "fanout"), message_ttl=1)(channel).declare()
    bench.publish(1, exchange="control", key="")
    let_pass(bench, milliseconds=1100)
    bench.publish(2, exchange="control", key="")

    reading = bench.read("q")
    reading.wait_for(1)
    reading.drain(0.05)

    assert reading.bodies == [2]


def test_an_unused_queue_expires_with_its_bindings_and_messages(bench: Any) -> None:
    bench.queue("other")
    before = set(bench.redis.keys()) | {"{avt.g0}:beat"}
    Queue("tasks", Exchange("work"), routing_key="tasks", expires=0.2)(bench.channel()).declare()
    bench.publish(1)

    bench.read("other").drain_until(lambda: not bench.redis.hexists("{avt.g0}:queues", "tasks"))

    assert set(bench.redis.keys()) <= before | {"{avt.g0}:revoked"}
    assert set(bench.redis.hkeys("{avt.g0}:bindings:work")) == {":version", "other\tother"}


@pytest.mark.faults
def test_a_consumed_queue_is_kept_and_expires_a_lease_later(bench: Any) -> None:
    bench.queue("other")
    Queue("tasks", Exchange("work"), routing_key="tasks", expires=0.2)(bench.channel()).declare()
    reading = bench.read()
    reading.drain(0.05)
    watching = bench.read("other")

    for _ in range(25):  # two and a half leases
        watching.drain(0.1)
    assert bench.redis.hexists("{avt.g0}:queues", "tasks")

    reading.connection.close()
    watching.drain_until(lambda: not bench.redis.hexists("{avt.g0}:queues", "tasks"))


def test_an_auto_delete_queue_waits_for_its_first_consumer(bench: Any) -> None:
    bench.queue("other")
    Queue("tasks", Exchange("work"), routing_key="tasks", auto_delete=True)(bench.channel()).declare()
    watching = bench.read("other")
    watching.drain(0.3)
    assert bench.redis.zcard("{avt.g0}:expiring") == 0

    reading = bench.read()
    reading.drain(0.05)
    reading.connection.close()

    watching.drain_until(lambda: not bench.redis.hexists("{avt.g0}:queues", "tasks"))
    assert bench.redis.hkeys("{avt.g0}:limits") == []


def test_a_queue_that_expired_without_consumers_does_not_come_back(bench: Any) -> None:
    queue = Queue("tasks", Exchange("work"), routing_key="tasks", expires=0.5)
    queue(bench.channel()).declare()
    bench.publish("old")
    let_pass(bench, milliseconds=600)

    queue(bench.channel()).declare()

    assert bench.left() == 0
    bench.publish("new")
    assert [message.payload for message in bench.read().wait_for(1)] == ["new"]


def patient_queue(*, seconds: float) -> Queue:
    """A queue that expires after *seconds* without a consumer, but only while it is empty."""
    return Queue("tasks", Exchange("work"), routing_key="tasks", expires=seconds, queue_arguments={IF_EMPTY: True})


def test_an_unused_queue_that_expires_only_if_empty_keeps_its_messages(bench: Any) -> None:
    bench.queue("other")
    patient_queue(seconds=0.1)(bench.channel()).declare()
    bench.publish("waits")
    first_due = bench.redis.zscore("{avt.g0}:expiring", "tasks")
    watching = bench.read("other")
    watching.drain_until(lambda: bench.redis.zscore("{avt.g0}:expiring", "tasks") > first_due)

    reading = bench.read()
    reading.wait_for(1)[0].ack()
    assert reading.bodies == ["waits"]
    reading.connection.close()

    watching.drain_until(lambda: not bench.redis.hexists("{avt.g0}:queues", "tasks"))
    assert set(bench.redis.hkeys("{avt.g0}:bindings:work")) == {":version", "other\tother"}
    assert bench.redis.hkeys("{avt.g0}:limits") == []


def test_a_delayed_message_keeps_a_queue_that_expires_only_if_empty(bench: Any) -> None:
    bench.queue("other")
    patient_queue(seconds=0.1)(bench.channel()).declare()
    bench.publish("later", headers={"x-delay": 60_000})
    first_due = bench.redis.zscore("{avt.g0}:expiring", "tasks")

    bench.read("other").drain_until(lambda: bench.redis.zscore("{avt.g0}:expiring", "tasks") > first_due)

    assert bench.redis.zcard("{avt.g0}:q:tasks:delays") == 1


def test_revoked_messages_do_not_keep_a_queue_that_expires_only_if_empty(bench: Any) -> None:
    """Without a consumer nothing else drops them; there may be more than one script run reads."""
    bench.queue("other")
    channel = bench.channel()
    patient_queue(seconds=0.1)(channel).declare()
    bench.redis.zadd("{avt.g0}:revoked", {"g": 2**52})
    channel.settle([Outgoing("work", "tasks", "{}", headers={"x-group": "g"})] * 1500, [])

    bench.read("other").drain_until(lambda: not bench.redis.hexists("{avt.g0}:queues", "tasks"))

    assert not bench.redis.exists("{avt.g0}:q:tasks:0")
