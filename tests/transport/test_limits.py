"""Limits of fair queues: numbers of messages at once and in a time, over all consumers and queues, and pauses."""

from __future__ import annotations

from .conftest import Bench, Reading
from .flow import Flow


def _idle(*readings: Reading) -> None:
    """Let consumers look for messages that must not come."""
    for _ in range(4):
        for reading in readings:
            reading.drain(0.02)


def test_no_more_messages_run_than_a_limit_allows(bench: Bench, flow: Flow) -> None:
    flow.control.set_limit("client:a", concurrency=3, rate=None)
    flow.publish("a", *range(6), limits=["client:a"])
    one, other = bench.read(prefetch=10), bench.read(prefetch=10)
    one.drain_until(lambda: other.drain(0.01) or len(one.got + other.got) == 3)
    _idle(one, other)
    held = len(one.got + other.got)
    [limit] = flow.control.limits()

    for count in (4, 5, 6):
        (one.got + other.got)[count - 4].ack()
        one.drain_until(lambda count=count: other.drain(0.01) or len(one.got + other.got) == count)
        _idle(one, other)
        assert len(one.got + other.got) == count

    assert held == 3
    assert (limit.concurrency, limit.running, limit.waiting) == (3, 3, 3)


def test_messages_of_other_clients_pass_those_that_a_limit_stops(bench: Bench, flow: Flow) -> None:
    flow.publish("a", *range(4), limits=["client:a", ["key:one", {"concurrency": 1}]])
    flow.publish("b", "b", limits=["client:b"])
    reading = bench.read(prefetch=10)
    reading.wait_for(2)
    _idle(reading)

    assert reading.bodies == [0, "b"]


def test_a_message_that_a_second_limit_stops_does_not_block_the_first_limit(bench: Bench, flow: Flow) -> None:
    flow.control.set_limit("client:a", concurrency=2, rate=None)
    one_at_once = ["key:x", {"concurrency": 1}]
    flow.publish("a", "x0", "x1", "x2", limits=["client:a", one_at_once])
    flow.publish("a", "y0", "y1", "y2", limits=["client:a"])
    reading = bench.read(prefetch=10)
    reading.wait_for(2)
    _idle(reading)
    first = sorted(reading.bodies)

    reading.got[1].ack()  # a slot of the client is free, and x1 is next, but it is stopped by its own limit
    reading.wait_for(3)
    _idle(reading)

    assert first == ["x0", "y0"]
    assert reading.bodies[2:] == ["y1"]


def test_paused_messages_wait_and_come_back(bench: Bench, flow: Flow) -> None:
    flow.control.pause("client:a", "ops")
    flow.publish("a", *range(5), limits=["client:a"])
    flow.publish("b", "b", limits=["client:b"])
    reading = bench.read(prefetch=10)
    reading.wait_for(1)
    _idle(reading)
    seen = list(reading.bodies)
    [paused] = flow.control.limits()

    flow.control.resume("client:a")
    reading.wait_for(6)

    assert seen == ["b"]
    assert (paused.paused_by, paused.waiting) == ("ops", 5)
    assert flow.control.limits() == []
    assert sorted(reading.bodies[1:]) == [0, 1, 2, 3, 4]


def test_a_whole_queue_can_be_limited_and_paused(bench: Bench, flow: Flow) -> None:
    flow.control.set_limit("skill:tasks", concurrency=1, rate=None)
    bench.publish("foreign", "other")
    flow.publish("a", "a", limits=["skill:tasks"])
    reading = bench.read(prefetch=10)
    reading.wait_for(1)
    _idle(reading)
    first = list(reading.bodies)
    reading.got[0].ack()
    reading.wait_for(2)
    _idle(reading)
    second = list(reading.bodies)
    flow.control.pause("skill:tasks", "ops")
    reading.got[1].ack()
    _idle(reading)
    third = list(reading.bodies)
    flow.control.resume("skill:tasks")
    reading.wait_for(3)[2].ack()
    reading.drain_until(lambda: not flow.keys_at_rest)

    assert (len(first), len(second), len(third)) == (1, 2, 2)
