"""Keys that hold an unexpected type: clear errors, no partial writes, and other queues are served."""

from __future__ import annotations

import logging
from threading import Event, Thread
from typing import Any

import pytest
import redis
from redis.exceptions import ResponseError

from avtomatika import broker
from avtomatika.errors import UnavailableError
from avtomatika.transport import Outgoing
from avtomatika.transport.inspector import Inspector

from .flow import Flow


def test_a_queue_of_an_unexpected_type_is_excluded_and_the_others_are_served(
    bench: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bench.queue("spoilt")
    bench.queue("good")
    bench.publish(1, key="good")
    bench.redis.set("{avt.g0}:q:spoilt:0", "a string")
    reading = bench.read("spoilt", "good")

    with caplog.at_level(logging.ERROR):
        reading.wait_for(1)[0].ack()
        bench.publish(2, key="good")
        reading.wait_for(2)[1].ack()
        reading.drain_until(lambda: bench.left("good") == 0)

    assert [record.getMessage() for record in caplog.records] == [
        "queue spoilt is not consumed: its key '{avt.g0}:q:spoilt:0' holds a string"
    ]
    assert [message.properties["deliveries"] for message in reading.got] == [1, 1]


def test_a_key_that_changes_its_type_during_a_wait_is_harmless(bench: Any) -> None:
    bench.queue("spoilt")
    bench.queue("good")
    reading = bench.read("spoilt", "good")
    reading.drain(0.05)
    bench.redis.set("{avt.g0}:q:spoilt:0", "a string")
    reading.drain(0.2)
    bench.publish(1, key="good")

    assert reading.wait_for(1, seconds=2)[0].payload == 1


def test_a_repaired_queue_is_served_again(bench: Any) -> None:
    bench.queue()
    bench.redis.set("{avt.g0}:q:tasks:0", "a string")
    reading = bench.read()
    reading.drain(0.05)
    bench.redis.delete("{avt.g0}:q:tasks:0")
    bench.publish(1)

    assert reading.wait_for(1, seconds=3)[0].payload == 1


def test_publishing_several_writes_none_when_one_key_has_an_unexpected_type(bench: Any) -> None:
    bench.queue("good")
    bench.queue("spoilt")
    channel = bench.channel()
    bench.redis.set("{avt.g0}:q:spoilt:0", "a string")

    with pytest.raises(ResponseError, match=r"{avt.g0}:q:spoilt:0 (is|holds) a string"):
        channel.settle([Outgoing("work", "good", "1"), Outgoing("work", "spoilt", "2")], [])

    assert bench.left("good") == 0


@pytest.mark.parametrize("key", ["{avt.g0}:bindings:work", "{avt.g0}:exchanges", "{avt.g0}:queues"])
def test_publishers_get_the_names_of_bindings_of_an_unexpected_type(bench: Any, key: str) -> None:
    bench.queue()
    bench.redis.set(key, "a string")

    with pytest.raises(ResponseError, match=f"{key} (is|holds) a string"):
        bench.publish(1)

    assert bench.left() == 0


def test_consumers_get_the_names_of_queues_of_an_unexpected_type_and_recover_once_these_are_deleted(bench: Any) -> None:
    bench.queue()
    bench.publish(1)
    reading = bench.read()
    reading.wait_for(1)
    bench.redis.set("{avt.g0}:queues", "a string")
    with pytest.raises(ResponseError, match=r"{avt.g0}:queues (is|holds) a string"):
        reading.drain(0.1)
    bench.redis.delete("{avt.g0}:queues")
    bench.redis.delete("{avt.g0}:bindings:work")
    bench.queue()
    bench.publish(2)

    assert reading.wait_for(2)[1].payload == 2


def test_the_broker_raises_unavailable(bench: Any) -> None:
    with broker.connect(bench.url) as connection:
        broker.declare_tasks(connection, ["encode"])
        intake = broker.Consumer(connection, ["encode"], prefetch=1)
        bench.redis.set("{avt.g0}:queues", "a string")

        with pytest.raises(UnavailableError, match=r"{avt.g0}:queues (is|holds) a string"):
            intake.take(0.1)

        bench.redis.delete("{avt.g0}:queues")
        assert intake.take(0) == []
        intake.close()


ODD_ENTRIES: list[dict[str, Any]] = [
    {"x": "y"},
    {"x": "nan", "n": "inf", "g": ""},
    {"n": "-1"},
    {"n": "99999999999999999999999999"},
    {"p": "no message", "x": "soon", "n": "often"},
    {b"\xff\xfe": b"\xff", "reason": "mine", "at": "noon", "deliveries": "many"},
    {f"field{number}": number for number in range(9000)},
]


@pytest.mark.parametrize("entry", ODD_ENTRIES, ids=range(len(ODD_ENTRIES)))
def test_an_undecodable_entry_becomes_a_dead_letter(bench: Any, entry: dict[str, Any]) -> None:
    bench.queue()
    bench.redis.xadd("{avt.g0}:q:tasks:0", entry)
    bench.publish(1)
    reading = bench.read()

    assert reading.wait_for(1)[0].payload == 1

    reading.drain_until(lambda: bench.redis.xlen("{avt.g0}:q:tasks:dead") == 1)
    channel = bench.channel()
    [letter] = Inspector(channel.server, channel.router).dead_letters(limit=10)
    assert (letter.queue, letter.reason, letter.deliveries) == ("tasks", "malformed", 0)


def test_an_undecodable_entry_is_dead_lettered_when_its_consumer_is_lost(bench: Any) -> None:
    bench.queue()
    bench.redis.xadd("{avt.g0}:q:tasks:0", {"x": "y"})
    bench.redis.xgroup_create("{avt.g0}:q:tasks:0", "avt", "0")
    bench.redis.xreadgroup("avt", "lost", {"{avt.g0}:q:tasks:0": ">"})
    reading = bench.read(lease_seconds=0.3, sweep_interval_seconds=0.05)

    reading.drain_until(lambda: bench.redis.xlen("{avt.g0}:q:tasks:dead") == 1)


def test_a_delay_without_message_is_dropped_and_the_others_are_delivered(bench: Any) -> None:
    bench.queue()
    channel = bench.channel()
    channel.settle([Outgoing("work", "tasks", "1", delay_seconds=0.05)], [])
    bench.redis.zadd("{avt.g0}:q:tasks:delays", {"odd": 1, "0:odd": 2})
    bench.redis.hset("{avt.g0}:q:tasks:delayed", mapping={"0:odd": "no message", "0:odd:ttl": "long"})
    reading = bench.read()

    assert reading.wait_for(1)[0].payload == 1

    reading.drain_until(lambda: bench.redis.zcard("{avt.g0}:q:tasks:delays") == 0)


def test_delays_of_an_unexpected_type_do_not_hold_up_delivery(bench: Any, caplog: pytest.LogCaptureFixture) -> None:
    bench.queue()
    channel = bench.channel()
    channel.settle([Outgoing("work", "tasks", "late", delay_seconds=60)], [])
    bench.redis.set("{avt.g0}:q:tasks:delays", "a string")
    bench.publish(1)
    reading = bench.read()

    reading.wait_for(1)
    reading.drain_until(lambda: "{avt.g0}:q:tasks:delays" in caplog.text and "a string" in caplog.text)
    bench.publish(2)

    assert [message.payload for message in reading.wait_for(2)] == [1, 2]


def test_a_server_that_forgets_scripts_at_any_moment_is_harmless(bench: Any) -> None:
    bench.queue()
    reading, stop = bench.read(), Event()

    def forget() -> None:
        with redis.Redis.from_url(bench.url) as client:
            while not stop.is_set():
                client.script_flush()

    flusher = Thread(target=forget)
    flusher.start()
    try:
        for number in range(80):
            bench.publish(number)
        for message in reading.wait_for(80):
            message.ack()
        reading.drain_until(lambda: bench.left() == 0)
    finally:
        stop.set()
        flusher.join()

    assert reading.bodies == list(range(80))


@pytest.mark.parametrize("name", ["waiting", "ready", "turns", "finish", "stopped", "held"])
def test_a_queue_in_turns_with_a_key_of_an_unexpected_type_is_excluded_and_loses_nothing(
    bench: Any, flow: Flow, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    one, key = ["key:one", {"concurrency": 1}], f"{{avt.g0}}:q:tasks:{name}"
    bench.queue("good")
    bench.redis.set(key, "a string")
    flow.publish("a", 1, 2, limits=[one])
    reading = bench.read("tasks", "good")
    with caplog.at_level(logging.ERROR):
        for _ in range(5):
            reading.drain(0.05)
        bench.publish("good", key="good")
        reading.drain_until(lambda: "good" in reading.bodies)
    bench.redis.delete(key)
    acknowledged = 0
    while not {1, 2} <= set(reading.bodies) or bench.left():
        for message in reading.got[acknowledged:]:
            message.ack()
            acknowledged += 1
        reading.drain(0.1)

    assert f"queue tasks is not consumed: its key {key!r} holds a string" in caplog.text


@pytest.mark.parametrize("name", ["limits", "weights", "holders", "stopped", "rates", "due"])
def test_a_key_of_limits_of_an_unexpected_type_is_named(bench: Any, flow: Flow, name: str) -> None:
    key = f"{{avt.g0}}:flow:{name}"
    bench.redis.set(key, "a string")
    flow.publish("a", 1, limits=[["key:one", {"concurrency": 1, "rate": 1}]])
    reading = bench.read()

    with pytest.raises(ResponseError, match=f"{key} holds a string"):
        reading.wait_for(1)

    bench.redis.delete(key)
    reading.wait_for(1)
