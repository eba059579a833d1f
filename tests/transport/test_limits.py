"""Limits of fair queues: numbers of messages at once and in a time, over all consumers and queues, and pauses."""

from __future__ import annotations

import pytest

from avtomatika.transport import Outgoing

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


def test_a_limit_can_be_raised_lowered_and_removed_while_messages_run(bench: Bench, flow: Flow) -> None:
    flow.control.set_limit("client:a", concurrency=2, rate=None)
    flow.publish("a", *range(20), limits=["client:a"])
    reading = bench.read(prefetch=100)
    counts = []

    def settled() -> int:
        _idle(reading)
        counts.append(len(reading.got))
        return len(reading.got)

    reading.wait_for(2)
    settled()
    flow.control.set_limit("client:a", concurrency=5, rate=None)
    reading.wait_for(5)
    settled()
    flow.control.set_limit("client:a", concurrency=1, rate=None)
    for message in reading.got[:4]:
        message.ack()
    settled()
    reading.got[4].ack()
    reading.wait_for(6)
    settled()
    flow.control.remove_limit("client:a")
    reading.wait_for(20)

    assert counts == [2, 5, 5, 6]


def test_a_new_limit_counts_the_messages_that_run_already(bench: Bench, flow: Flow) -> None:
    own = ["key:one", {"concurrency": 5}]
    flow.publish("a", "plain", limits=["client:a"], headers={"x-group": "job plain"})
    reading = bench.read(prefetch=10)
    reading.wait_for(1)
    flow.publish("a", "own", limits=["client:a", own], headers={"x-group": "job own"})
    flow.publish("b", "b", limits=["client:b"])
    reading.wait_for(3)

    flow.control.set_limit("client:a", concurrency=3, rate=None)
    flow.publish("a", 1, 2, limits=["client:a"])
    reading.wait_for(4)
    _idle(reading)
    running = flow.control.limits()[0].running
    holders = flow.control.limits(["client:a"])[0].holders
    for message in reading.got[:4]:
        message.ack()
    reading.wait_for(5)[4].ack()

    assert reading.bodies[3:] == [1, 2]
    assert (running, sorted(holders)) == (3, ["", "own", "plain"])
    reading.drain_until(lambda: not flow.keys_at_rest)


@pytest.mark.parametrize("declared", ["server", "message"])
def test_a_rate_is_kept_within_five_percent(bench: Bench, flow: Flow, declared: str) -> None:
    rate, window_ms = 50, 1000
    if declared == "server":
        flow.control.set_limit("client:a", concurrency=None, rate=rate, per_ms=window_ms)
    limits = ["client:a"] if declared == "server" else [["client:a", {"rate": rate, "per_ms": window_ms}]]
    flow.publish("a", *range(150), limits=limits)
    started: list[float] = []
    reading = bench.read(prefetch=10)
    while len(started) < 150:
        for message in reading.drain(1):
            seconds, microseconds = bench.redis.time()
            started.append(seconds * 1000 + microseconds / 1000)
            message.ack()

    windows = [sum(start <= each < start + window_ms for each in started) for start in started]
    assert max(windows) <= rate * 1.05 + 5  # the times are those at which a busy machine received them
    # A busy machine starts later; the average must not lag behind by itself.
    assert (started[-1] - started[0]) >= 149 / rate * 1000 * 0.95 - 100


def test_consumers_wait_for_tokens_without_asking_again_and_again(bench: Bench, flow: Flow) -> None:
    flow.control.set_limit("client:a", concurrency=None, rate=1, per_ms=3_600_000)
    flow.publish("a", 1, 2, limits=["client:a"])
    reading = bench.read(prefetch=10, sweep_interval_seconds=60)
    reading.wait_for(1)[0].ack()
    _idle(reading)
    before = bench.redis.info("commandstats")["cmdstat_evalsha"]["calls"]
    reading.drain(0.5)
    reading.drain(0.5)

    assert reading.bodies == [1]
    assert bench.redis.info("commandstats")["cmdstat_evalsha"]["calls"] - before < 10
    assert flow.control.limits()[0].waiting == 1


def test_a_rate_wakes_another_consumer_when_the_first_has_no_credit(bench: Bench, flow: Flow) -> None:
    flow.control.set_limit("client:a", concurrency=None, rate=10, per_ms=1000)
    idle = bench.read(prefetch=10, sweep_interval_seconds=60)
    idle.drain(0.05)
    flow.publish("a", 1, 2, 3, limits=["client:a"])
    full = bench.read(prefetch=1, sweep_interval_seconds=60)
    full.wait_for(1)

    idle.wait_for(2, seconds=20)

    assert sorted(full.bodies + idle.bodies) == [1, 2, 3]


def test_a_limit_counts_over_all_queues(bench: Bench, flow: Flow) -> None:
    flow.declare("others")
    flow.control.set_limit("client:a", concurrency=2, rate=None)
    for number in range(3):
        flow.publish("a", number, limits=["client:a"])
        flow.publish("a", number, limits=["client:a"], queue="others")
    one, other = bench.read("tasks", prefetch=10), bench.read("others", prefetch=10)
    one.wait_for(2)
    _idle(one, other)
    first = len(other.got)
    for message in one.got:
        message.ack()

    other.drain_until(lambda: one.drain(0.01) or len(one.got) + len(other.got) == 4)
    _idle(one, other)
    assert (first, len(one.got) + len(other.got)) == (0, 4)


def test_a_free_slot_is_not_kept_for_a_queue_that_nobody_reads(bench: Bench, flow: Flow) -> None:
    flow.declare("abandoned")
    flow.control.set_limit("client:a", concurrency=1, rate=None)
    flow.publish("a", "stopped", limits=["client:a"], queue="abandoned")
    flow.publish("a", 0, 1, 2, limits=["client:a"])
    reading, last = bench.read(prefetch=10), bench.read("abandoned", prefetch=10)
    reading.wait_for(1)
    _idle(last)
    last.channel.close()

    for number in range(3):
        reading.wait_for(number + 1)[number].ack()
    assert reading.bodies == [0, 1, 2]


def test_ten_thousand_paused_messages_cost_others_nothing(bench: Bench, flow: Flow) -> None:
    channel, flow_header = bench.channel(), {"key": "a", "limits": ["client:a"]}
    flow.control.pause("client:a", "ops")
    for _ in range(20):
        channel.settle([Outgoing("work", "tasks", '"a"', headers={"x-flow": flow_header})] * 500, [])
    reading = bench.read(prefetch=10)
    flow.publish("b", "b", limits=["client:b"])
    reading.wait_for(1)[0].ack()
    reading.drain(0.02)

    before = _commands(bench)
    for number in range(20):
        flow.publish("b", number, limits=["client:b"])
        reading.wait_for(number + 2)[-1].ack()
    cost = _commands(bench) - before
    flow.control.resume("client:a")
    while len(reading.got) < 10_021:
        for message in reading.drain(1):
            message.ack()
    reading.drain_until(lambda: bench.left() == 0)

    assert reading.bodies.count("a") == 10_000
    assert cost < 20 * 100  # including those of the connections that publish
    assert not flow.keys_at_rest


def test_ten_thousand_limits_of_messages_that_a_pause_stops_come_back(bench: Bench, flow: Flow) -> None:
    channel = bench.channel()
    flow.control.pause("client:a", "ops")
    for page in range(20):
        names = [f"key:{page}-{number}" for number in range(500)]
        headers = [{"x-flow": {"key": "a", "limits": ["client:a", [name, {"concurrency": 1}]]}} for name in names]
        channel.settle([Outgoing("work", "tasks", '"a"', headers=each) for each in headers], [])
    reading = bench.read(prefetch=100)
    flow.publish("b", "b", limits=["client:b"])
    reading.wait_for(1)[0].ack()
    flow.control.resume("client:a")

    while len(reading.got) < 10_001:
        for message in reading.drain(1):
            message.ack()
    reading.drain_until(lambda: bench.left() == 0)
    reading.drain_until(lambda: not flow.keys_at_rest)


def _commands(bench: Bench) -> int:
    return sum(row["calls"] for row in bench.redis.info("commandstats").values())
