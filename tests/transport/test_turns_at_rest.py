"""Messages that wait in a queue in turns: counted, purged, dropped, delayed, requeued and reclaimed like all others."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.waiting import wait_until

from .conftest import LEASE_SECONDS, Bench, Reading
from .flow import Flow

ONE = ["key:one", {"concurrency": 1}]


def _hold_first(bench: Bench, flow: Flow, count: int = 3, **properties: Any) -> Reading:
    """Publish *count* messages of which one may run, and take it."""
    flow.publish("a", *range(count), limits=[ONE], **properties)
    reading = bench.read(prefetch=10)
    reading.wait_for(1)
    reading.drain(0.02)
    return reading


def _take_rest(flow: Flow, reading: Reading, count: int) -> list[Any]:
    """Acknowledge the message that runs, and take the others one by one."""
    reading.got[-1].ack()
    bodies = flow.take(reading, count)
    reading.drain_until(lambda: not flow.bench.left())
    reading.drain_until(lambda: not flow.keys_at_rest)
    return bodies


def test_stats_count_waiting_messages_and_their_age(bench: Bench, flow: Flow) -> None:
    _hold_first(bench, flow)
    flow.publish("b", "b")
    wait_until(lambda: flow.inspector.stats(["tasks"])[0].waited_ms >= 50)

    [stats] = flow.inspector.stats(["tasks"])
    assert (stats.waiting, stats.held, stats.consumers) == (3, 1, 1)
    assert flow.topology.size("tasks") == 3
    assert flow.topology.sizes(["tasks"]) == {"tasks": 4}


def test_peek_shows_messages_that_wait(bench: Bench, flow: Flow) -> None:
    _hold_first(bench, flow)
    flow.publish("b", "new")

    assert [letter.body for letter in flow.inspector.peek("tasks", limit=10)] == [b"1", b"2", b'"new"']


def test_purge_removes_waiting_messages_and_keeps_the_running_one(bench: Bench, flow: Flow) -> None:
    reading = _hold_first(bench, flow, 5)
    flow.publish("b", "new")

    assert flow.topology.purge("tasks") == 5
    assert bench.left() == 1
    flow.publish("a", "later", limits=[ONE])
    reading.drain(0.02)
    assert reading.bodies == [0]
    assert _take_rest(flow, reading, 1) == ["later"]


def test_a_deleted_queue_frees_its_slots(bench: Bench, flow: Flow) -> None:
    flow.declare("others")
    reading = _hold_first(bench, flow)
    flow.publish("a", "other", limits=[ONE], queue="others")
    other = bench.read("others")
    other.drain(0.02)
    stopped = list(other.bodies)

    flow.topology.delete_queue("tasks")

    other.wait_for(1)[0].ack()
    other.drain_until(lambda: not flow.keys_at_rest)
    assert stopped == []
    assert reading.bodies == [0]


def test_a_queue_with_waiting_messages_does_not_expire(bench: Bench, flow: Flow) -> None:
    _hold_first(bench, flow)

    assert not flow.topology.delete_queue("tasks", if_empty=True)


def test_revoked_messages_are_dropped_in_their_turn_and_hold_no_slot(bench: Bench, flow: Flow) -> None:
    flow.publish("a", "first", limits=[ONE])
    flow.publish("a", "revoked", limits=[ONE], headers={"x-group": "job attempt"})
    flow.publish("a", "last", limits=[ONE])
    reading = bench.read(prefetch=10)
    reading.wait_for(1)
    reading.channel.revoke(["job"])

    assert _take_rest(flow, reading, 1) == ["last"]


def test_a_running_message_that_is_revoked_frees_its_slot(bench: Bench, flow: Flow) -> None:
    flow.publish("a", "first", limits=[ONE], headers={"x-group": "job attempt"})
    flow.publish("a", "second", limits=[ONE])
    dead = bench.read(prefetch=1)
    dead.wait_for(1)
    dead.channel.revoke(["attempt"])
    dead.connection.collect()
    reading = bench.read(prefetch=10)

    assert reading.wait_for(1, seconds=10 * LEASE_SECONDS)[0].payload == "second"


def test_expired_messages_are_dropped_in_their_turn(bench: Bench, flow: Flow) -> None:
    flow.publish("a", "first", limits=[ONE])
    flow.publish("a", "expires", limits=[ONE], expiration=0.05)
    flow.publish("a", "last", limits=[ONE])
    reading = bench.read(prefetch=10)
    reading.wait_for(1)
    wait_until(lambda: flow.inspector.stats(["tasks"])[0].waited_ms > 60)

    assert _take_rest(flow, reading, 1) == ["last"]


def test_a_paused_queue_keeps_its_order(bench: Bench, flow: Flow) -> None:
    flow.publish("a", "a0", "a1")
    flow.publish("b", "b0")
    flow.topology.set_paused("tasks", "ops")
    reading = bench.read(prefetch=1)
    reading.drain(0.05)
    paused = list(reading.bodies)
    flow.topology.set_paused("tasks", "")

    assert (paused, flow.take(reading, 3)) == ([], ["a0", "b0", "a1"])


def test_a_returned_message_keeps_its_place_and_frees_its_slot(bench: Bench, flow: Flow) -> None:
    reading = _hold_first(bench, flow)
    reading.channel.return_unstarted([reading.got[0].delivery_tag])

    message = reading.wait_for(2)[1]

    assert (message.payload, message.properties["deliveries"]) == (0, 1)
    assert _take_rest(flow, reading, 2) == [1, 2]


def test_a_requeued_message_goes_to_the_tail(bench: Bench, flow: Flow) -> None:
    reading = _hold_first(bench, flow)
    reading.got[0].requeue()

    assert flow.take(reading, 3) == [1, 2, 0]
    assert reading.got[-1].properties["deliveries"] == 2


def test_redelivered_messages_come_alone(bench: Bench, flow: Flow) -> None:
    flow.start_turns()
    flow.publish("a", 1, 2)
    reading = bench.read(prefetch=10)
    reading.wait_for(2)
    for message in list(reading.got):
        message.requeue()
    reading.got.clear()

    assert len(reading.drain(1)) == 1
    assert len(reading.drain(1)) == 1


def test_rejected_messages_become_dead_letters_and_free_their_slots(bench: Bench, flow: Flow) -> None:
    reading = _hold_first(bench, flow)
    reading.got[0].reject()
    reading.wait_for(2)

    assert bench.dead_reasons() == ["rejected"]
    assert _take_rest(flow, reading, 1) == [2]


def test_settled_messages_free_their_slots(bench: Bench, flow: Flow) -> None:
    reading = _hold_first(bench, flow)
    reading.channel.settle([], [reading.got[0].delivery_tag])
    reading.wait_for(2)

    assert _take_rest(flow, reading, 1) == [2]


def test_delayed_messages_take_turns_when_they_are_due(bench: Bench, flow: Flow) -> None:
    flow.start_turns()
    flow.publish("a", "delayed", limits=[ONE], headers={"x-delay": 20})
    flow.publish("a", "first", limits=[ONE])
    reading = bench.read(prefetch=10)
    reading.wait_for(1)

    assert _take_rest(flow, reading, 1) == ["delayed"]
    assert reading.bodies == ["first", "delayed"]


def test_a_message_of_a_dead_consumer_is_redelivered_and_keeps_its_slot(bench: Bench, flow: Flow) -> None:
    flow.publish("a", *range(3), limits=[ONE])
    dead = bench.read(prefetch=10, requeue_on_close=False)
    dead.wait_for(1)
    dead.connection.collect()
    bench.beat()
    reading = bench.read(prefetch=10)
    [message] = reading.wait_for(1, seconds=10 * LEASE_SECONDS)
    for _ in range(3):
        reading.drain(0.02)

    assert (message.payload, message.properties["deliveries"]) == (0, 2)
    assert flow.control.limits(["key:one"])[0].holders == [""]
    assert _take_rest(flow, reading, 2) == [1, 2]


@pytest.mark.parametrize("how", ["flush scripts", "destroy group"])
def test_a_lost_consumer_group_loses_no_message(bench: Bench, flow: Flow, how: str) -> None:
    reading = _hold_first(bench, flow, 4)
    if how == "flush scripts":
        bench.redis.script_flush()
    else:
        bench.redis.xgroup_destroy(flow.router.keys.stream("tasks", 0), "avt")
        reading.channel.release([reading.got[0].delivery_tag])
        flow.publish("b", "b")  # wakes the consumer
        reading.wait_for(2)
    acknowledged: list[Any] = []
    while len({message.payload for message in reading.got} - {"b"}) < 4:
        for message in reading.got[len(acknowledged) :]:
            message.ack()
            acknowledged.append(message)
        reading.drain(1)
    reading.got[-1].ack()

    reading.drain_until(lambda: not bench.left())
    reading.drain_until(lambda: not flow.keys_at_rest)


def test_after_flushall_queues_are_fair_again(bench: Bench, flow: Flow) -> None:
    reading = _hold_first(bench, flow)
    bench.redis.flushall()
    reading.got[0].ack()
    flow.declare("tasks")
    flow.publish("a", "a0", "a1", "a2", limits=[ONE])
    flow.publish("b", "b0")
    reading.wait_for(3, seconds=20)
    reading.drain(0.02)

    assert sorted(reading.bodies[1:]) == ["a0", "b0"]
    assert flow.traits == "0xw"


def test_a_message_with_an_unreadable_header_has_no_key_and_no_limits(bench: Bench, flow: Flow) -> None:
    flow.start_turns()
    for header in (
        "text",
        {"key": 5},
        {"key": 'a"b\\', "limits": 7},
        {"limits": [["x"], 5, {}]},
        {"key": "{", "limits": ["]"]},
    ):
        bench.publish("odd", headers={"x-flow": header})
    bench.redis.xadd(flow.router.keys.stream("tasks", 0), {"foreign": "entry", "o": "no id", "g": "a\0b"})
    bench.redis.hset(flow.router.keys.flow_weights, mapping={"": "none", "5": "0"})
    bench.redis.hset(flow.router.keys.flow_limits, "]", "no JSON")
    bench.publish('"x-flow":{"key":"body"}', content_type="text/plain", content_encoding="utf-8")
    reading = bench.read(prefetch=10)
    for message in reading.wait_for(6):
        message.ack()

    reading.drain_until(lambda: not bench.left())
    assert bench.dead_reasons() == ["malformed"]


def test_a_message_that_another_program_deleted_frees_its_slot(bench: Bench, flow: Flow) -> None:
    reading = _hold_first(bench, flow)
    bench.redis.xdel(*reading.got[0].delivery_tag.split("/"))
    bench.redis.delete(flow.router.keys.beat)
    bench.beat()

    assert reading.wait_for(2, seconds=10 * LEASE_SECONDS)[1].payload == 1
