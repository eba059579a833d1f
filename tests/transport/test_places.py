"""Why a message of a queue in turns waits: its place, the limit that stops it, and what runs instead."""

from __future__ import annotations

from typing import Any

import pytest

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


def test_limits_are_listed_by_name_with_their_values(flow: Flow) -> None:
    flow.control.set_limit("skill:b", concurrency=2, rate=None, source="file")
    flow.control.set_limit("client:a", concurrency=None, rate=100, per_ms=60_000)
    flow.control.pause("client:a", "ops")
    flow.control.pause("client:a", "others")
    flow.control.set_limit("client:a", concurrency=5, rate=None)
    rate, skill = flow.control.limits()
    [named] = flow.control.limits(["client:none"])

    assert (rate.name, rate.concurrency, rate.rate, rate.paused_by) == ("client:a", 5, None, "ops")
    assert (skill.name, skill.concurrency, skill.source, skill.paused_by) == ("skill:b", 2, "file", None)
    assert (named.concurrency, named.running, named.waiting) == (None, 0, 0)
    assert flow.control.limits([]) == []
    assert flow.control.remove_limit("client:a")
    assert [limit.paused_by for limit in flow.control.limits()] == ["ops", None]
    assert (flow.control.resume("client:a"), flow.control.resume("client:a")) == (True, False)
    assert (flow.control.remove_limit("skill:b"), flow.control.remove_limit("skill:b")) == (True, False)
    assert flow.control.limits() == []


@pytest.mark.parametrize("name", ["", "a\0b", "a\1b"])
def test_names_that_keys_cannot_contain_are_refused(flow: Flow, name: str) -> None:
    with pytest.raises(ValueError, match="not the name of a limit"):
        flow.control.pause(name, "ops")


def test_values_below_one_and_weights_of_zero_are_refused(flow: Flow) -> None:
    with pytest.raises(ValueError, match="limit 'a': 0 is not a number from 1 on"):
        flow.control.set_limit("a", concurrency=0, rate=None)
    with pytest.raises(ValueError, match="weights must be above 0"):
        flow.control.set_weights({"a": 0})


def test_weights_are_replaced_as_a_whole(bench: Bench, flow: Flow) -> None:
    flow.control.set_weights({"a": 2, "b": 3})
    flow.control.set_weights({"c": 1.5})
    kept = bench.redis.hgetall(flow.router.keys.flow_weights)
    flow.control.set_weights({})

    assert kept == {"c": "1.5"}
    assert not bench.redis.exists(flow.router.keys.flow_weights)
