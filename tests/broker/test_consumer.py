"""The consumer: batches within the prefetch limit, all ways to settle them, and a broker that restarts."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest
import redis

from avtomatika import broker
from avtomatika.broker import Consumer, Delivery, Outgoing
from avtomatika.errors import NoRouteError, UnavailableError


@pytest.fixture
def ready(desk: Any) -> Any:
    """A desk whose broker has the queues ``encode`` and ``resize``."""
    broker.declare_tasks(desk.connect(), ["encode", "resize"])
    return desk


def wait_for(consumer: Consumer, count: int, seconds: float = 10) -> list[Delivery]:
    """Take until *count* deliveries were received, while the broker may be down."""
    taken: list[Delivery] = []
    deadline = monotonic() + seconds
    while len(taken) < count:
        assert monotonic() < deadline, f"only {len(taken)} of {count} deliveries came"
        try:
            taken += consumer.take(0.1)
        except UnavailableError:
            consumer.wait(0.1)
    return taken


def test_a_batch_comes_whole_and_within_the_credit(ready: Any) -> None:
    consumer = ready.consumer("encode", "resize", prefetch=3)
    for n in range(5):
        ready.publish("encode", f"{n}", exchange="avt.tasks", headers={"x-group": "job"})

    batch = consumer.take(2)

    assert [delivery.body for delivery in batch] == [b"0", b"1", b"2"]
    assert {(delivery.queue, delivery.group, delivery.deliveries) for delivery in batch} == {("encode", "job", 1)}
    assert consumer.take(0) == []
    consumer.ack([batch[0].tag])
    assert [delivery.body for delivery in consumer.take(2)] == [b"3"]
    consumer.set_prefetch(4)
    assert [delivery.body for delivery in consumer.take(2)] == [b"4"]


def test_a_take_times_out(ready: Any) -> None:
    began = monotonic()

    assert ready.consumer("encode").take(0.2) == []

    assert 0.2 <= monotonic() - began < 1


def test_a_reply_is_sent_with_the_acknowledgement(ready: Any) -> None:
    ready.publish("encode", exchange="avt.tasks")
    consumer = ready.consumer("encode")
    [delivery] = consumer.take(2)

    done = consumer.settle_many([([Outgoing("avt.tasks", "resize", '{"n":1}')], [delivery.tag])])

    assert done == [True]
    assert [answer.body for answer in ready.consumer("resize").take(2)] == [b'{"n":1}']
    assert ready.consumer("encode").take(0) == []


def test_an_unroutable_reply_is_rejected(ready: Any) -> None:
    ready.publish("encode", exchange="avt.tasks")
    consumer = ready.consumer("encode")
    [delivery] = consumer.take(2)

    with pytest.raises(NoRouteError, match="unknown"):
        consumer.settle_many([([Outgoing("avt.tasks", "unknown", "{}")], [delivery.tag])])


def test_returned_deliveries_are_redelivered_immediately(ready: Any) -> None:
    ready.publish("encode", exchange="avt.tasks")
    consumer = ready.consumer("encode")

    consumer.return_unstarted(consumer.take(2))

    [delivery] = ready.consumer("encode").take(1)
    assert delivery.deliveries == 1


def test_a_delivery_is_dead_lettered_with_its_reason(ready: Any) -> None:
    ready.publish("encode", "[]", exchange="avt.tasks")
    consumer = ready.consumer("encode")
    [delivery] = consumer.take(2)

    consumer.dead_letter(delivery, reason="bad body", error="no object")

    with redis.Redis.from_url(ready.url, decode_responses=True) as client:
        [(_, fields)] = client.xrange("{avt.g0}:q:encode:dead")
    assert (fields["reason"], fields["error"]) == ("bad body", "no object")
    assert consumer.take(0) == []


@pytest.mark.parametrize("content_type", ["application/x-python-serialize", "text/plain"])
def test_a_body_other_than_json_is_dead_lettered(ready: Any, content_type: str) -> None:
    ready.publish("encode", "x", exchange="avt.tasks", content_type=content_type)
    ready.publish("encode", "{}", exchange="avt.tasks")

    [delivery] = ready.consumer("encode").take(2)

    assert delivery.body == b"{}"
    with redis.Redis.from_url(ready.url) as client:
        assert client.xlen("{avt.g0}:q:encode:dead") == 1


def test_a_consumer_recovers_after_the_broker_was_down(own_server: Any, make_desk: Callable[[str], Any]) -> None:
    desk = make_desk(own_server.url)
    broker.declare_tasks(desk.connect(), ["encode"])
    desk.publish("encode", "1", exchange="avt.tasks")
    consumer = desk.consumer("encode")
    [first] = consumer.take(2)

    own_server.stop()
    with pytest.raises(UnavailableError, match="does not answer"):
        consumer.take(0.1)
    with pytest.raises(UnavailableError):
        consumer.settle_many([([], [first.tag])])
    own_server.start()

    desk.publish("encode", "2", exchange="avt.tasks")
    [second] = wait_for(consumer, 1)
    assert second.body == b"2"
    assert consumer.settle_many([([], [first.tag]), ([], [second.tag])]) == [True, True]


def test_a_full_broker_rejects_new_messages(ready: Any) -> None:
    consumer = ready.consumer("encode")
    with redis.Redis.from_url(ready.url) as client:
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(UnavailableError, match="takes nothing new") as raised:
                consumer.settle_many([([Outgoing("avt.tasks", "encode", "{}")], [])])
        finally:
            client.config_set("maxmemory", 0)

    assert raised.value.retry_after_seconds == 10


def test_closing_ends_a_wait(ready: Any) -> None:
    consumer = ready.consumer("encode")
    consumer.close()
    began = monotonic()

    consumer.wait(10)

    assert monotonic() - began < 1
