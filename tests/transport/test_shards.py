"""A channel of four shards on one server: one credit, turns, and every answer in the shard of its message."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from avtomatika.core.shards import shard_prefixes
from avtomatika.transport import Channel, Outgoing
from avtomatika.transport.keys import prefix_of

PREFIXES = shard_prefixes("g0", 4)


@pytest.fixture
def channel(bench: Any) -> Channel:
    """A channel that has declared the queue ``tasks`` in all shards."""
    channel = bench.channel(prefixes=PREFIXES)
    channel.declare_many(exchanges={"work": "direct"}, queues=["tasks"], bindings=[("tasks", "work", "tasks")])
    return channel


def publish(channel: Channel, prefix: str, *bodies: int, **properties: Any) -> None:
    outgoing = [Outgoing("work", "tasks", f"{body}", shard=prefix, **properties) for body in bodies]
    assert channel.settle_many([([each], ()) for each in outgoing]) == [True] * len(bodies)


def shards(messages: list[Any]) -> Counter[str]:
    return Counter(prefix_of(message.delivery_tag) for message in messages)


def test_messages_come_from_all_shards(bench: Any, channel: Channel) -> None:
    for place, prefix in enumerate(PREFIXES):
        publish(channel, prefix, place)
    reading = bench.read(prefixes=PREFIXES)

    got = reading.wait_for(4)

    assert sorted(reading.bodies) == [0, 1, 2, 3]
    assert shards(got) == dict.fromkeys(PREFIXES, 1)
    for message in got:
        message.ack()
    reading.drain_until(lambda: not any(bench.redis.xlen(f"{prefix}q:tasks:0") for prefix in PREFIXES))


def test_shards_share_the_credit_in_turns(bench: Any, channel: Channel) -> None:
    for prefix in PREFIXES:
        publish(channel, prefix, *range(10))
    reading = bench.read(prefixes=PREFIXES, prefetch=4)

    for count in range(4, 41, 4):
        got = reading.wait_for(count)[count - 4 :]
        assert shards(got) == dict.fromkeys(PREFIXES, 1)
        assert reading.drain() == []
        for message in got:
            message.ack()
