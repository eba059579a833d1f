"""Fair queues: keys take turns by weight; within a key, messages are taken by priority and age."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from avtomatika.transport import Outgoing

from .conftest import Bench
from .flow import Flow


def _send(flow: Flow, keys: Sequence[str], **properties: Any) -> None:
    """Publish a message of each key in few round trips; its body is its key."""
    channel = flow.bench.channel()
    for first in range(0, len(keys), 500):
        page = keys[first : first + 500]
        sent = [Outgoing("work", "tasks", f'"{key}"', headers={"x-flow": {"key": key}}, **properties) for key in page]
        channel.settle(sent, [])


def test_keys_take_turns(bench: Bench, flow: Flow) -> None:
    flow.publish("a", *[f"a{number}" for number in range(6)])
    flow.publish("b", "b0", "b1")
    flow.publish("c", "c0")
    reading = bench.read(prefetch=1)

    assert flow.take(reading, 9) == ["a0", "b0", "c0", "a1", "b1", "a2", "a3", "a4", "a5"]
    reading.drain_until(lambda: bench.left() == 0)


def test_a_queue_with_one_key_is_not_taken_in_turns(bench: Bench, flow: Flow) -> None:
    flow.publish("a", 1, 2, limits=["client:a"])
    reading = bench.read(prefetch=1)
    flow.take(reading, 2)
    first = flow.traits
    flow.publish("b", 3)
    flow.take(reading, 1)

    assert (first, flow.traits) == ("0x", "0xw")


def test_only_fair_queues_are_taken_in_turns(bench: Bench, flow: Flow) -> None:
    bench.queue("plain")
    flow.publish("a", "a0", "a1", queue="plain")
    flow.publish("b", "b0", queue="plain", limits=[["key:one", {"concurrency": 1}]])
    flow.control.set_limit("client:a", concurrency=1, rate=None)
    flow.publish("b", "urgent", queue="plain", priority=9)
    reading = bench.read("plain", prefetch=10)

    assert [message.payload for message in reading.wait_for(4)] == ["urgent", "a0", "a1", "b0"]
    assert bench.redis.hget(flow.router.keys.queues, "plain") == "09"


def test_keys_have_turns_by_their_weights(bench: Bench, flow: Flow) -> None:
    flow.control.set_weights({"heavy": 3, "light": 0.5})
    for key in ("heavy", "light", "usual"):
        flow.publish(key, *[key] * 90)

    first = Counter(flow.take(bench.read(prefetch=1), 90))

    assert {key: pytest.approx(first[key], abs=2) for key in first} == {"heavy": 60, "usual": 20, "light": 10}


def _fair_positions(sizes: Mapping[str, int]) -> dict[str, float]:
    """Return the mean position of each key's messages if all keys get the same share while they have messages."""
    left, positions, taken = dict(sizes), dict.fromkeys(sizes, 0.0), 0.0
    while left:
        for key in list(left):
            taken += 1
            positions[key] += taken
            left[key] -= 1
            if not left[key]:
                del left[key]
    return {key: total / sizes[key] for key, total in positions.items()}


def test_twenty_clients_wait_as_long_as_their_shares_say(bench: Bench, flow: Flow) -> None:
    counts = [1, 1, 2, 3, 5, 8, 13, 20, 30, 50, 80, 120, 180, 250, 350, 500, 800, 1200, 2500, 10_000]
    sizes = {f"client-{number}": count for number, count in enumerate(counts)}
    _send(flow, [key for key, count in reversed(sizes.items()) for _ in range(count)])
    flow.start_turns()
    one, other = bench.read(prefetch=10), bench.read(prefetch=10)
    order: list[str] = []

    while len(order) < sum(counts):
        for reading in (one, other):
            for message in reading.drain(1):
                order.append(message.payload)
                message.ack()

    positions: dict[str, list[int]] = {}
    for position, key in enumerate(order, start=1):
        positions.setdefault(key, []).append(position)
    expected = _fair_positions(sizes)
    waited = {key: sum(found) / len(found) for key, found in positions.items()}
    assert {key: len(found) for key, found in positions.items()} == sizes
    assert waited == {key: pytest.approx(place, rel=0.2, abs=20) for key, place in expected.items()}


def test_a_key_that_comes_later_need_not_wait_for_the_others(bench: Bench, flow: Flow) -> None:
    _send(flow, ["a"] * 3000)
    flow.start_turns()
    reading = bench.read(prefetch=1)
    flow.take(reading, 5)
    _send(flow, ["b"])

    assert "b" in flow.take(reading, 3)


@pytest.mark.parametrize("keys", [1, 2])
def test_an_old_message_is_not_passed_by_ever_new_urgent_ones(bench: Bench, flow: Flow, keys: int) -> None:
    flow.publish("a", "old")
    reading = bench.read(prefetch=1, priority_aging_seconds=0.001)
    taken: list[Any] = []
    while "old" not in taken and len(taken) < 100:
        for number in range(2):  # more come than are taken
            flow.publish("ab"[number % keys], "urgent", priority=9)
        taken += flow.take(reading, 1)

    assert taken[0] == "urgent" or taken == ["old"]
    assert "old" in taken


def test_a_key_has_its_urgent_messages_first(bench: Bench, flow: Flow) -> None:
    flow.publish("a", "a0")
    flow.publish("a", "a9", priority=9)
    flow.publish("b", "b0")
    flow.publish("b", "b5", priority=5)

    assert flow.take(bench.read(prefetch=1), 4) == ["a9", "b5", "a0", "b0"]


def test_between_queues_the_priority_of_the_next_message_counts(bench: Bench, flow: Flow) -> None:
    bench.queue("plain")
    flow.publish("a", "high", priority=7)
    flow.publish("b", "low", "low")
    bench.publish("middle", key="plain", priority=5)
    bench.publish("lowest", key="plain")

    assert flow.take(bench.read("tasks", "plain", prefetch=1), 5)[:2] == ["high", "middle"]


def test_the_costs_of_a_message_do_not_grow_with_the_number_of_keys(bench: Bench, flow: Flow, redis_url: str) -> None:
    costs = {}
    for keys in (1, 100, 10_000):
        bench.redis.flushall()
        flow.declare("tasks")
        flow.router.forget_routes()
        _send(flow, [f"key-{number % keys}" for number in range(10_000)])
        flow.start_turns()
        reading = bench.read(prefetch=10)
        before = _commands(bench)
        while bench.left():
            for message in reading.drain(1):
                message.ack()
        costs[keys] = (_commands(bench) - before) / 10_000

    assert costs == {keys: pytest.approx(costs[100], rel=0.1) for keys in costs}


def _commands(bench: Bench) -> int:
    return sum(row["calls"] for row in bench.redis.info("commandstats").values())
