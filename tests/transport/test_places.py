"""Why a message of a queue in turns waits: its place, the limit that stops it, and what runs instead."""

from __future__ import annotations

from typing import Any

from avtomatika.transport import Place, Queued, Unacked

from .conftest import Bench
from .flow import Flow

ONE = ["key:one", {"concurrency": 1}]


def test_a_waiting_message_is_found_with_its_place(bench: Bench, flow: Flow) -> None:
    def publish(key: str, holder: str, *limits: Any) -> None:
        flow.publish(key, holder, limits=limits, headers={"x-group": f"job {holder}"})

    flow.control.set_weights({"b": 2})
    publish("a", "running", ONE)
    for holder in ("s0", "s1"):
        publish("a", holder, ONE)
    reading = bench.read(prefetch=1)
    reading.wait_for(1)
    reading.consumer.qos(prefetch_count=2)
    reading.drain(0.02)
    for holder in ("a0", "a1"):
        publish("a", holder)
    for holder in ("b0", "b1", "b2", "b3"):
        publish("b", holder)

    unread = flow.control.place("tasks", "b3")
    reading.drain_until(lambda: len(reading.got) == 2)
    places = {holder: flow.control.place("tasks", holder) for holder in ("s0", "s1", "a1", "b2", "running", "none")}
    stopped = places["s1"]
    locations = [flow.inspector.locate("tasks", f"job {holder}") for holder in ("s1", "running", "none")]

    assert unread is not None
    assert unread.ahead >= 5
    assert stopped is not None
    assert stopped.limit is not None
    assert (stopped.limit.name, stopped.limit.concurrency, stopped.ahead) == ("key:one", 1, 1)
    assert (stopped.limit.running, stopped.limit.waiting, stopped.holders) == (1, 2, ["running"])
    assert (places["running"], places["none"]) == (None, None)
    assert locations[0] == Queued(1)
    assert isinstance(locations[1], Unacked)
    assert locations[2] is None
    waiting = flow.control.waiting("tasks")
    assert waiting.total == 7
    assert waiting.by_key == {"a": 3, "b": 4} or waiting.by_key == {"a": 4, "b": 3}
    ready = [places["a1"], places["b2"]]
    assert all(isinstance(place, Place) and place.limit is None for place in ready)
