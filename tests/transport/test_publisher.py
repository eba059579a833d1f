"""Publishing: single messages, batches, unroutable keys, and changing bindings."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kombu import Exchange, Queue
from kombu.exceptions import ChannelError

from avtomatika.transport import MessageTooLargeError, NoRouteError, Outgoing


def test_a_message_arrives_as_it_was_published(bench: Any) -> None:
    bench.queue()
    bench.publish({"n": 1}, headers={"h": "x"}, priority=4, correlation_id="c")

    [message] = bench.read().wait_for(1)

    assert message.payload == {"n": 1}
    assert message.headers == {"h": "x"}
    assert message.properties["priority"] == 4
    assert message.properties["correlation_id"] == "c"
    assert message.properties["deliveries"] == 1
    assert message.delivery_info["routing_key"] == "tasks"


def test_binary_bodies_arrive_unchanged(bench: Any) -> None:
    bench.queue()
    bench.publish(b"\xff\x00\x01", content_type="application/octet-stream", content_encoding="binary")

    [message] = bench.read().wait_for(1)

    assert message.body == b"\xff\x00\x01"


def test_a_header_that_json_would_change_is_rejected(bench: Any) -> None:
    bench.queue()

    with pytest.raises(TypeError, match="64-bit"):
        bench.publish(1, headers={"n": 2**70})

    assert bench.left() == 0


def test_a_compressed_message_is_read_again(bench: Any) -> None:
    bench.queue()
    bench.publish({"text": "x" * 1000}, compression="zlib")

    [message] = bench.read().wait_for(1)

    assert message.payload == {"text": "x" * 1000}


def test_encode_makes_what_a_producer_stores(bench: Any) -> None:
    bench.queue()
    body = json.dumps({"text": 'Grüße "an\\alle"\n\u0001'}, ensure_ascii=False)
    headers = {"x-group": "job", "n": 1}
    bench.publish(body, priority=3, headers=headers, content_type="application/json", content_encoding="utf-8")

    encoded = bench.channel().router.encode(Outgoing("work", "tasks", body, priority=3, headers=headers))

    [(_, stored)] = bench.redis.xrange("{avt.g0}:q:tasks:3")
    assert stored == {"p": encoded, "g": "job"}


def test_an_unroutable_key_is_rejected(bench: Any) -> None:
    bench.queue()

    with pytest.raises(NoRouteError, match="'work' with routing key 'elsewhere'"):
        bench.publish({}, key="elsewhere")
    with pytest.raises(NoRouteError):
        bench.publish({}, exchange="nowhere")
    assert bench.left() == 0


def test_the_default_exchange_routes_to_the_queue_of_that_name(bench: Any) -> None:
    bench.queue()
    bench.publish(1, exchange="", key="tasks")

    with pytest.raises(NoRouteError):
        bench.publish(2, exchange="", key="unknown")

    assert bench.left() == 1


def test_a_batch_is_published_when_full_and_at_its_end(bench: Any) -> None:
    bench.queue()
    with bench.connect().Producer() as producer, producer.batch(max_size=10):
        for n in range(25):
            producer.publish(n, exchange="work", routing_key="tasks")
        sent_within = bench.left()

    assert sent_within == 20
    assert bench.left() == 25


def test_a_failed_batch_publishes_nothing(bench: Any) -> None:
    bench.queue()

    with bench.connect().Producer() as producer, pytest.raises(KeyError):
        _publish_in_a_batch(producer, "tasks", error=KeyError("user"))

    assert bench.left() == 0


def test_a_batch_with_an_unroutable_key_publishes_nothing(bench: Any) -> None:
    bench.queue()

    with bench.connect().Producer() as producer, pytest.raises(NoRouteError):
        _publish_in_a_batch(producer, "tasks", "nowhere")

    assert bench.left() == 0


def _publish_in_a_batch(producer: Any, *keys: str, error: Exception | None = None) -> None:
    with producer.batch():
        for key in keys:
            producer.publish(1, exchange="work", routing_key=key)
        if error is not None:
            raise error


def test_a_message_too_large_is_rejected(bench: Any) -> None:
    bench.queue()
    channel = bench.channel(max_message_bytes=1000)

    with pytest.raises(MessageTooLargeError, match=r"a message of 1\d\d\d bytes; 1000 are allowed"):
        channel.settle([Outgoing("work", "tasks", json.dumps("é" * 600, ensure_ascii=False))], [])

    assert bench.left() == 0


def test_changed_bindings_are_read_again(bench: Any) -> None:
    bench.queue("old", key="k")
    bench.queue("new", key="other")
    channel = bench.channel()
    channel.settle([Outgoing("work", "k", "1")], [])
    elsewhere = bench.channel()
    elsewhere.queue_unbind("old", "work", "k")
    elsewhere.queue_bind("new", "work", "k")

    channel.settle([Outgoing("work", "k", "2")], [])

    assert (bench.left("old"), bench.left("new")) == (1, 1)


def test_after_an_unbind_by_another_channel_the_key_is_unroutable(bench: Any) -> None:
    bench.queue()
    channel = bench.channel()
    channel.settle([Outgoing("work", "tasks", "1")], [])
    bench.channel().queue_unbind("tasks", "work", "tasks")

    with pytest.raises(NoRouteError):
        channel.settle([Outgoing("work", "tasks", "2")], [])

    assert bench.left() == 1


def test_redeclaring_changes_no_version(bench: Any) -> None:
    bench.queue()
    version = bench.redis.hget("{avt.g0}:bindings:work", ":version")

    bench.queue()

    assert bench.redis.hget("{avt.g0}:bindings:work", ":version") == version


def test_an_exchange_keeps_its_type(bench: Any) -> None:
    bench.queue()

    with pytest.raises(ChannelError, match="of type 'direct'"):
        Exchange("work", "topic")(bench.channel()).declare()


def test_passive_declarations_report_missing_entities(bench: Any) -> None:
    bench.queue()
    channel = bench.channel()

    assert channel.queue_declare("tasks", passive=True).queue == "tasks"
    with pytest.raises(ChannelError, match="NOT_FOUND"):
        channel.queue_declare("unknown", passive=True)
    with pytest.raises(ChannelError, match="NOT_FOUND"):
        channel.exchange_declare("unknown", passive=True)


def test_a_topic_routes_once_to_every_matching_queue(bench: Any) -> None:
    bench.queue("all", key="a.#", exchange="events", kind="topic")
    bench.queue("all", key="a.*", exchange="events", kind="topic")
    bench.queue("one", key="a.b", exchange="events", kind="topic")

    bench.publish(1, exchange="events", key="a.b")
    bench.publish(2, exchange="events", key="a")

    assert (bench.left("all"), bench.left("one")) == (2, 1)


def test_hundreds_of_bindings_are_declared_in_a_few_round_trips(bench: Any) -> None:
    channel = bench.channel()
    bench.redis.config_resetstat()

    channel.declare_many(
        exchanges={"steps": "direct"},
        queues=["q"],
        bindings=[("q", "steps", f"key{n}") for n in range(500)],
    )

    calls = bench.redis.info("commandstats")
    assert calls["cmdstat_hmget"]["calls"] + calls["cmdstat_evalsha"]["calls"] <= 5
    assert channel.router.route("steps", "key499").queues == ("q",)


def test_a_prefix_isolates_systems(bench: Any) -> None:
    bench.queue()
    other = bench.channel(global_keyprefix="{other}:")
    Queue("tasks", Exchange("work"), routing_key="tasks")(other).declare()

    other.settle([Outgoing("work", "tasks", "1")], [])

    assert bench.left() == 0
    assert bench.redis.xlen("{other}:q:tasks:0") == 1
