"""The inbox dead-letters only messages that cannot be handled, and keeps others while the server is unavailable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from redis import Redis

from avtomatika import broker
from avtomatika.broker import Consumer, Delivery, Outgoing
from avtomatika.errors import UnavailableError
from avtomatika.orchestrator.inbox import Inbox


@pytest.fixture
def consumer(redis_url: str) -> Iterator[Consumer]:
    with broker.connect(redis_url) as connection:
        broker.declare_tasks(connection, ["work"])
        consumer = Consumer(connection, ["work"], prefetch=10)
        for number in range(3):
            consumer.channel.settle([Outgoing("avt.tasks", "work", str(number))], ())
        yield consumer
        consumer.close()


def filled(consumer: Consumer) -> Inbox:
    inbox = Inbox(consumer)
    while len(inbox.deliveries) < 3:
        inbox.add(consumer.take(1.0))
    return inbox


def test_a_message_that_cannot_be_handled_is_dead_lettered_and_others_are_handled(
    consumer: Consumer, redis_url: str
) -> None:
    inbox, handled = filled(consumer), list[bytes]()

    def handle(deliveries: Sequence[Delivery]) -> None:
        if any(delivery.body == b"1" for delivery in deliveries):
            raise ValueError("an odd one")
        handled.extend(delivery.body for delivery in deliveries)

    inbox.handle(handle, inbox.deliveries)

    assert handled == [b"0", b"2"]
    assert not inbox
    with Redis.from_url(redis_url) as client:
        [(_, letter)] = client.xrange("{avt.g0}:q:work:dead")
    assert (letter[b"reason"], letter[b"error"]) == (b"not handled", b"ValueError('an odd one')")


def test_what_is_interrupted_stays(consumer: Consumer) -> None:
    inbox = filled(consumer)

    def handle(deliveries: Sequence[Delivery]) -> None:
        inbox.remove(deliveries[:1])
        raise UnavailableError("the server is away")

    with pytest.raises(UnavailableError):
        inbox.handle(handle, inbox.deliveries)

    assert [delivery.body for delivery in inbox.deliveries] == [b"1", b"2"]
