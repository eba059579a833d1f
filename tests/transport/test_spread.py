"""Queues spread over slots: each queue lives in one, and a message reaches every queue that is bound to it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from kombu import Exchange, Queue
from kombu.exceptions import ChannelError

from avtomatika.transport import NoRouteError
from avtomatika.transport.keys import prefix_of
from avtomatika.transport.options import Options

OPTIONS = {"global_keyprefix": "{shop}:", "spread": 8}
PREFIXES = Options(**OPTIONS).all_prefixes
NAMES = [f"q{n}" for n in range(12)]


def slots_of(bench: Any, queue: str) -> list[str]:
    return [prefix for prefix in PREFIXES if bench.redis.hexists(f"{prefix}queues", queue)]


def declare(bench: Any, kind: str, *keys: str) -> Any:
    """Declare NAMES, bound to an exchange by their names or by *keys*."""
    channel = bench.channel(**OPTIONS)
    for place, name in enumerate(NAMES):
        key = keys[place % len(keys)] if keys else name
        Queue(name, Exchange("work", kind), key)(channel).declare()
    return channel


def send(channel: Any, key: str, *bodies: int, exchange: str = "work") -> None:
    with channel.Producer(serializer="json") as producer:
        for body in bodies:
            producer.publish(body, exchange=exchange, routing_key=key)


def test_each_queue_is_in_one_of_the_slots(bench: Any) -> None:
    declare(bench, "direct")

    slots = [slots_of(bench, name) for name in NAMES]

    assert [len(each) for each in slots] == [1] * len(NAMES)
    assert len({slot for [slot] in slots}) > 3


def test_messages_come_from_the_queues_of_all_slots(bench: Any) -> None:
    channel = declare(bench, "direct")
    for place, name in enumerate(NAMES):
        send(channel, name, place)
        send(channel, name, 100 + place, exchange="")
    reading = bench.read(*NAMES, **OPTIONS)

    got = reading.wait_for(2 * len(NAMES))

    assert sorted(reading.bodies) == sorted(base + place for base in (0, 100) for place in range(len(NAMES)))
    assert all([prefix_of(each.delivery_tag)] == slots_of(bench, each.delivery_info["queue"]) for each in got)
    for message in got:
        message.ack()
    reading.connection.close()
    assert bench.read(*NAMES, **OPTIONS).drain(0.1) == []


@pytest.mark.parametrize(("kind", "bound", "key"), [("fanout", "", ""), ("topic", "a.#", "a.b"), ("direct", "a", "a")])
def test_a_message_reaches_every_queue_that_is_bound_to_it(bench: Any, kind: str, bound: str, key: str) -> None:
    channel = declare(bench, kind, bound)
    reading = bench.read(*NAMES, **OPTIONS)

    send(channel, key, 1, 2)

    got = reading.wait_for(2 * len(NAMES))
    assert Counter(message.delivery_info["queue"] for message in got) == dict.fromkeys(NAMES, 2)


def test_a_queue_that_is_bound_later_gets_messages_within_a_second(bench: Any) -> None:
    channel = bench.channel(**OPTIONS)
    Queue("q0", Exchange("work"), "key")(channel).declare()
    send(channel, "key", 1)
    for name in NAMES[1:]:
        Queue(name, Exchange("work"), "key")(bench.channel(**OPTIONS)).declare()
    reading = bench.read(*NAMES[1:], prefetch=0, **OPTIONS)

    def have_all_got_one() -> bool:
        send(channel, "key", 2)
        return {message.delivery_info["queue"] for message in reading.got} == {*NAMES[1:]}

    reading.drain_until(have_all_got_one)


def test_a_queue_is_counted_purged_and_deleted_in_its_slot(bench: Any) -> None:
    channel = declare(bench, "direct")
    send(channel, "q3", 1, 2, 3)

    assert channel.queue_declare("q3", passive=True).message_count == 3
    assert channel.basic_get("q3").payload == 1
    assert channel.queue_purge("q3") == 2
    channel.queue_delete("q3")

    assert slots_of(bench, "q3") == []
    assert {name for name, _, _ in channel.topology.bindings("work")} == {*NAMES} - {"q3"}
    with pytest.raises(ChannelError, match="no queue 'q3'"):
        channel.queue_declare("q3", passive=True)
    with pytest.raises(NoRouteError):
        send(channel, "q3", 4)


def test_a_batch_is_published_to_all_slots(bench: Any) -> None:
    channel = declare(bench, "direct")
    with channel.Producer(serializer="json") as producer, producer.batch(max_size=100):
        for place, name in enumerate(NAMES):
            producer.publish(place, exchange="work", routing_key=name)

    assert [channel.queue_declare(name, passive=True).message_count for name in NAMES] == [1] * len(NAMES)


def test_queues_with_limits_expire_in_their_slot(bench: Any) -> None:
    channel = bench.channel(**OPTIONS)
    for name in NAMES:
        channel.queue_declare(name, arguments={"x-expires": 100})
    others = bench.read("other", **OPTIONS)
    Queue("other", no_declare=True)(others.channel).declare()

    def all_are_gone() -> bool:
        channel.queue_declare("more", arguments={"x-expires": 100_000})  # removes expired ones everywhere
        return not any(slots_of(bench, name) for name in NAMES)

    others.drain_until(all_are_gone)


def test_a_prefix_without_a_hash_tag_cannot_be_spread(bench: Any) -> None:
    with pytest.raises(ValueError, match="global_keyprefix must be as in"):
        bench.channel(global_keyprefix="shop:", spread=4)
