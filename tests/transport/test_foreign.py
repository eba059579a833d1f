"""Keys of ours that hold something else: said clearly, nothing half written, and everybody else is served."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from redis.exceptions import ResponseError

from avtomatika import broker
from avtomatika.errors import Unavailable
from avtomatika.transport import Outgoing


def test_a_queue_whose_key_is_foreign_is_left_out_and_the_others_are_served(
    bench: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bench.queue("spoilt")
    bench.queue("good")
    bench.publish(1, key="good")
    bench.redis.set("avt:q:spoilt:0", "a string")
    reading = bench.read("spoilt", "good")

    with caplog.at_level(logging.ERROR):
        reading.wait_for(1)[0].ack()
        bench.publish(2, key="good")
        reading.wait_for(2)[1].ack()
        reading.drain_until(lambda: bench.left("good") == 0)

    assert [record.getMessage() for record in caplog.records] == [
        "queue spoilt is left out: its key 'avt:q:spoilt:0' holds a string"
    ]
    assert [message.properties["deliveries"] for message in reading.got] == [1, 1]


def test_a_key_that_becomes_foreign_while_it_is_waited_for_does_no_harm(bench: Any) -> None:
    bench.queue("spoilt")
    bench.queue("good")
    reading = bench.read("spoilt", "good")
    reading.drain(0.05)
    bench.redis.set("avt:q:spoilt:0", "a string")
    reading.drain(0.2)
    bench.publish(1, key="good")

    assert reading.wait_for(1, seconds=2)[0].payload == 1


def test_a_queue_that_was_put_right_is_served_again(bench: Any) -> None:
    bench.queue()
    bench.redis.set("avt:q:tasks:0", "a string")
    reading = bench.read()
    reading.drain(0.05)
    bench.redis.delete("avt:q:tasks:0")
    bench.publish(1)

    assert reading.wait_for(1, seconds=3)[0].payload == 1


def test_publishing_several_writes_none_when_one_key_is_foreign(bench: Any) -> None:
    bench.queue("good")
    bench.queue("spoilt")
    channel = bench.channel()
    bench.redis.set("avt:q:spoilt:0", "a string")

    with pytest.raises(ResponseError, match="avt:q:spoilt:0 is a string"):
        channel.settle([Outgoing("work", "good", "1"), Outgoing("work", "spoilt", "2")], [])

    assert bench.left("good") == 0


@pytest.mark.parametrize("key", ["avt:bindings:work", "avt:exchanges", "avt:queues"])
def test_foreign_bindings_are_named_to_publishers(bench: Any, key: str) -> None:
    bench.queue()
    bench.redis.set(key, "a string")

    with pytest.raises(ResponseError, match=f"{key} is a string"):
        bench.publish(1)

    assert bench.left() == 0


def test_foreign_queues_are_named_to_consumers_who_go_on_once_they_are_gone(bench: Any) -> None:
    bench.queue()
    bench.publish(1)
    reading = bench.read()
    reading.wait_for(1)
    bench.redis.set("avt:queues", "a string")
    with pytest.raises(ResponseError, match="avt:queues is a string"):
        reading.drain(0.1)
    bench.redis.delete("avt:queues")
    bench.redis.delete("avt:bindings:work")
    bench.queue()
    bench.publish(2)

    assert reading.wait_for(2)[1].payload == 2


def test_to_users_of_a_broker_it_is_unavailable(bench: Any) -> None:
    with broker.connect(bench.url) as connection:
        broker.declare_tasks(connection, ["encode"])
        intake = broker.Intake(connection, ["encode"], prefetch=1)
        bench.redis.set("avt:queues", "a string")

        with pytest.raises(Unavailable, match="avt:queues is a string"):
            intake.take(0.1)

        bench.redis.delete("avt:queues")
        assert intake.take(0) == []
        intake.close()
