"""Settling: messages and acknowledgements in one atomic script."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from redis.exceptions import OutOfMemoryError

from avtomatika.transport import NoRouteError, Outgoing


@pytest.fixture
def held(bench: Any) -> Any:
    """A consumer that holds two messages of ``tasks``; replies go to ``next``."""
    bench.queue()
    bench.queue("next")
    bench.publish(1, 2)
    reading = bench.read()
    reading.wait_for(2)
    return reading


def test_messages_and_acknowledgements_are_settled_together(bench: Any, held: Any) -> None:
    tags = [message.delivery_tag for message in held.got]

    lost = held.channel.settle([Outgoing("work", "next", "1")], tags)

    assert lost == ()
    assert bench.left() == 0
    assert bench.left("next") == 1
    assert held.channel.qos.messages == {}


def test_a_lost_lease_prevents_the_whole_settlement(bench: Any, held: Any) -> None:
    first, second = (message.delivery_tag for message in held.got)
    entry = second.rpartition("/")[2]
    bench.redis.xclaim("{avt.g0}:q:tasks:0", "avt", "another", 0, [entry])

    lost = held.channel.settle([Outgoing("work", "next", "1")], [first, second])

    assert lost == (second,)
    assert bench.left() == 2
    assert bench.left("next") == 0
    assert list(held.channel.qos.messages) == [first]


def test_settlements_are_independent(bench: Any, held: Any) -> None:
    first, second = (message.delivery_tag for message in held.got)
    unknown = "{avt.g0}:q:tasks:0/1-1"

    done = held.channel.settle_many(
        [
            ([Outgoing("work", "next", "1")], [first]),
            ([Outgoing("work", "next", "2")], [unknown]),
            ([], [second]),
        ]
    )

    assert done == [True, False, True]
    assert bench.left() == 0
    assert bench.left("next") == 1


def test_settling_twice_publishes_once(bench: Any, held: Any) -> None:
    tag = held.got[0].delivery_tag

    done = [held.channel.settle_many([([Outgoing("work", "next", "1")], [tag])]) for _ in range(2)]

    assert done == [[True], [False]]
    assert bench.left("next") == 1


def test_an_unroutable_key_prevents_the_whole_settlement(bench: Any, held: Any) -> None:
    with pytest.raises(NoRouteError):
        held.channel.settle([Outgoing("work", "nowhere", "1")], [held.got[0].delivery_tag])

    assert bench.left() == 2
    assert len(held.channel.qos.messages) == 2


def test_changed_bindings_are_read_again(bench: Any, held: Any) -> None:
    held.channel.router.route("work", "next")
    bench.queue("elsewhere", key="next")

    held.channel.settle([Outgoing("work", "next", "1")], [held.got[0].delivery_tag])

    assert (bench.left("next"), bench.left("elsewhere")) == (1, 1)


def test_tags_acknowledged_elsewhere_are_released(bench: Any, held: Any) -> None:
    bench.publish(3)
    held.consumer.qos(prefetch_count=2)
    for message in held.got:
        stream, entry = held.channel.router.parse_tag(message.delivery_tag)
        bench.redis.xack(stream, "avt", entry)
        bench.redis.xdel(stream, entry)

    held.channel.release([message.delivery_tag for message in held.got])

    assert held.wait_for(3)[2].payload == 3


def test_a_full_server_rejects_new_messages_but_settles(bench: Any, held: Any) -> None:
    bench.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(OutOfMemoryError):
            bench.publish(4)
        lost = held.channel.settle([Outgoing("work", "next", "1")], [held.got[0].delivery_tag])
        held.got[1].ack()
        held.drain_until(lambda: bench.left() == 0)
        [message] = bench.read("next").wait_for(1)
    finally:
        bench.redis.config_set("maxmemory", 0)

    assert message.payload == 1
    assert lost == ()
    assert bench.left("next") == 1


def test_on_sent_is_called_before_the_reply(bench: Any, held: Any) -> None:
    [tag, *_] = (message.delivery_tag for message in held.got)
    gone_on = threading.Event()
    done: list[bool] = []

    def settle() -> None:
        done.extend(held.channel.settle_many([([Outgoing("work", "next", "1")], [tag])], on_sent=gone_on.set))

    held.channel.settle([Outgoing("work", "next", "0")], ())  # caches the route
    bench.redis.client_pause(60_000, all=False)
    thread = threading.Thread(target=settle)
    thread.start()

    assert gone_on.wait(30)
    assert done == []
    bench.redis.client_unpause()
    thread.join(30)
    assert done == [True]
    assert bench.left("next") == 2


def test_on_sent_is_called_once_despite_a_retry(bench: Any, held: Any) -> None:
    gone_on: list[int] = []
    held.channel.settle([Outgoing("work", "next", "0")], ())
    bench.queue("other", key="next")  # by another channel: the cached route is outdated
    bench.redis.script_flush()

    done = held.channel.settle_many([([Outgoing("work", "next", "1")], ())], on_sent=lambda: gone_on.append(1))

    assert done == [True]
    assert gone_on == [1]
    assert (bench.left("next"), bench.left("other")) == (2, 1)


def test_on_sent_is_not_called_if_nothing_was_sent(held: Any) -> None:
    gone_on: list[int] = []

    with pytest.raises(NoRouteError):
        held.channel.settle_many([([Outgoing("work", "nowhere", "1")], ())], on_sent=lambda: gone_on.append(1))

    assert gone_on == []
