"""Delays: delayed messages are moved when due, by the server's clock."""

from __future__ import annotations

from threading import Thread
from time import monotonic
from typing import Any

from avtomatika.transport import Outgoing


def test_a_delayed_message_is_delivered_when_due(bench: Any) -> None:
    bench.queue()
    channel = bench.channel()
    reading = bench.read()
    reading.drain(0.05)
    began = monotonic()
    channel.settle([Outgoing("work", "tasks", "1", priority=5, headers={"x-group": "g"}, delay_seconds=0.4)], [])
    channel.settle([Outgoing("work", "tasks", "2", delay_seconds=0.2)], [])

    reading.wait_for(2)

    assert reading.bodies == [2, 1]
    assert 0.4 <= monotonic() - began < 1.0
    assert reading.got[1].properties["priority"] == 5
    assert bench.redis.hkeys("{avt.g0}:q:tasks:delayed") == [":count"]


def test_a_waiting_consumer_is_notified_of_a_shorter_delay(bench: Any) -> None:
    bench.queue()
    channel = bench.channel()
    channel.settle([Outgoing("work", "tasks", "late", delay_seconds=60)], [])
    reading = bench.read(sweep_interval_seconds=60)
    reading.drain(0.05)
    publisher = Thread(target=lambda: channel.settle([Outgoing("work", "tasks", "1", delay_seconds=0.1)], []))
    began = monotonic()
    publisher.start()

    reading.drain(5)
    publisher.join()

    assert reading.bodies == [1]
    assert monotonic() - began < 0.6


def test_a_producer_delays_with_a_header(bench: Any) -> None:
    bench.queue()
    began = monotonic()
    bench.publish(1, headers={"x-delay": 300})

    bench.read().wait_for(1)

    assert monotonic() - began >= 0.3


def test_each_delayed_message_is_moved_once_by_many_consumers(bench: Any) -> None:
    bench.queue()
    bench.channel().settle([Outgoing("work", "tasks", str(n), delay_seconds=0.1) for n in range(50)], [])
    readings = [bench.read(prefetch=5) for _ in range(3)]
    deadline = monotonic() + 5

    while sum(len(reading.got) for reading in readings) < 50:
        assert monotonic() < deadline
        for reading in readings:
            for message in reading.drain(0.02):
                message.ack()

    assert sorted(body for reading in readings for body in reading.bodies) == list(range(50))


def test_a_purge_deletes_delayed_messages(bench: Any) -> None:
    queue = bench.queue()
    channel = bench.channel()
    channel.settle([Outgoing("work", "tasks", "1", delay_seconds=60)], [])

    assert queue(channel).purge() == 1
    assert not bench.redis.exists("{avt.g0}:q:tasks:delays")
