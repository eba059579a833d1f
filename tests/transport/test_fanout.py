"""Fanout: each queue continues from its position."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from kombu import Exchange, Queue


def test_every_queue_gets_every_message_from_its_binding_on(bench: Any) -> None:
    bench.queue("early", key="", exchange="control", kind="fanout")
    bench.publish(1, exchange="control", key="")
    bench.queue("late", key="", exchange="control", kind="fanout")
    bench.publish(2, 3, exchange="control", key="")

    early, late = bench.read("early"), bench.read("late")
    early.wait_for(3)
    late.wait_for(2)

    assert early.bodies == [1, 2, 3]
    assert late.bodies == [2, 3]
    for message in early.got:
        message.ack()
    assert early.drain(0.05) == []


def test_a_waiting_consumer_is_notified_immediately(bench: Any) -> None:
    bench.queue("q", key="", exchange="control", kind="fanout")
    reading = bench.read("q")
    reading.drain(0.05)
    bench.publish(1, exchange="control", key="")

    reading.wait_for(1, seconds=0.5)


def test_a_queue_may_have_fanout_and_direct_bindings(bench: Any) -> None:
    bench.queue("q", key="", exchange="control", kind="fanout")
    bench.queue("q")
    bench.publish(1, exchange="control", key="")
    bench.publish(2, key="q")

    reading = bench.read("q")

    assert sorted(message.payload for message in reading.wait_for(2)) == [1, 2]


def test_a_fanout_needs_no_queue(bench: Any) -> None:
    bench.channel().exchange_declare("control", "fanout")

    bench.publish(1, exchange="control", key="")

    assert bench.redis.xlen("{avt.g0}:fanout:control") == 1


def test_a_queue_that_fell_behind_learns_the_number_of_missed_messages(
    bench: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bench.queue("q", key="", exchange="control", kind="fanout")
    bench.publish(*range(10), exchange="control", key="")
    bench.redis.xtrim("{avt.g0}:fanout:control", maxlen=4, approximate=False)

    with caplog.at_level(logging.WARNING):
        reading = bench.read("q")
        reading.wait_for(4)

    assert reading.bodies == [6, 7, 8, 9]
    assert reading.got[0].properties["missed"] == 6
    assert "missed" not in reading.got[1].properties
    assert "missed 6 messages of exchange control" in caplog.text


def test_another_channel_continues_from_the_last_position(bench: Any) -> None:
    bench.queue("q", key="", exchange="control", kind="fanout")
    bench.publish(1, exchange="control", key="")
    first = bench.read("q")
    first.wait_for(1)
    first.drain(0.05)
    first.channel.close()
    bench.publish(2, exchange="control", key="")

    second = bench.read("q")
    second.wait_for(1)

    assert second.bodies == [2]


def test_a_transient_queue_starts_empty_for_the_next_consumer(bench: Any) -> None:
    queue = Queue("mailbox", Exchange("control", type="fanout"), auto_delete=True, expires=10)
    first = bench.connect()
    with first.Consumer(queue):
        pass
    first.release()
    bench.publish("old", exchange="control", key="")
    got: list[Any] = []
    second = bench.connect()
    with second.Consumer(queue, on_message=got.append):
        bench.publish("new", exchange="control", key="")
        second.drain_events(timeout=5)

    assert [message.payload for message in got] == ["new"]
