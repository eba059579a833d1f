"""Fair queues: keys take turns by weight; within a key, messages are taken by priority and age."""

from __future__ import annotations

from .conftest import Bench
from .flow import Flow


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
