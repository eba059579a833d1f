"""The intake: whole batches within the credit, every way to answer them, and a broker that goes and comes back."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest
import redis

from avtomatika import broker
from avtomatika.broker import Consumer, Delivery, Outgoing
from avtomatika.errors import NoRouteError, UnavailableError


@pytest.fixture
def ready(desk: Any) -> Any:
    """A desk whose broker has the queues ``encode`` and ``resize``."""
    broker.declare_tasks(desk.connect(), ["encode", "resize"])
    return desk


def wait_for(intake: Consumer, count: int, seconds: float = 10) -> list[Delivery]:
    """Take until *count* deliveries have come, through a broker that is away for a while."""
    taken: list[Delivery] = []
    deadline = monotonic() + seconds
    while len(taken) < count:
        assert monotonic() < deadline, f"only {len(taken)} of {count} deliveries came"
        try:
            taken += intake.take(0.1)
        except UnavailableError:
            intake.wait(0.1)
    return taken


def test_a_batch_comes_whole_and_within_the_credit(ready: Any) -> None:
    intake = ready.intake("encode", "resize", prefetch=3)
    for n in range(5):
        ready.publish("encode", f"{n}", exchange="avt.tasks", headers={"x-group": "job"})

    batch = intake.take(2)

    assert [delivery.body for delivery in batch] == [b"0", b"1", b"2"]
    assert {(delivery.queue, delivery.group, delivery.deliveries) for delivery in batch} == {("encode", "job", 1)}
    assert intake.take(0) == []
    intake.ack([batch[0].tag])
    assert [delivery.body for delivery in intake.take(2)] == [b"3"]
    intake.set_prefetch(4)
    assert [delivery.body for delivery in intake.take(2)] == [b"4"]


def test_nothing_comes_within_the_timeout(ready: Any) -> None:
    began = monotonic()

    assert ready.intake("encode").take(0.2) == []

    assert 0.2 <= monotonic() - began < 1


def test_an_answer_goes_out_with_the_acknowledgement(ready: Any) -> None:
    ready.publish("encode", exchange="avt.tasks")
    intake = ready.intake("encode")
    [delivery] = intake.take(2)

    done = intake.settle_many([([Outgoing("avt.tasks", "resize", '{"n":1}')], [delivery.tag])])

    assert done == [True]
    assert [answer.body for answer in ready.intake("resize").take(2)] == [b'{"n":1}']
    assert ready.intake("encode").take(0) == []


def test_an_answer_that_leads_nowhere_is_refused(ready: Any) -> None:
    ready.publish("encode", exchange="avt.tasks")
    intake = ready.intake("encode")
    [delivery] = intake.take(2)

    with pytest.raises(NoRouteError, match="unknown"):
        intake.settle_many([([Outgoing("avt.tasks", "unknown", "{}")], [delivery.tag])])


def test_what_is_handed_back_is_somebody_elses_at_once(ready: Any) -> None:
    ready.publish("encode", exchange="avt.tasks")
    intake = ready.intake("encode")

    intake.return_unstarted(intake.take(2))

    [delivery] = ready.intake("encode").take(1)
    assert delivery.deliveries == 1


def test_a_delivery_is_buried_with_its_reason(ready: Any) -> None:
    ready.publish("encode", "[]", exchange="avt.tasks")
    intake = ready.intake("encode")
    [delivery] = intake.take(2)

    intake.dead_letter(delivery, reason="bad body", error="no object")

    with redis.Redis.from_url(ready.url, decode_responses=True) as client:
        [(_, fields)] = client.xrange("avt:q:encode:dead")
    assert (fields["reason"], fields["error"]) == ("bad body", "no object")
    assert intake.take(0) == []


@pytest.mark.parametrize("content_type", ["application/x-python-serialize", "text/plain"])
def test_what_is_not_json_goes_to_the_dead_letters(ready: Any, content_type: str) -> None:
    ready.publish("encode", "x", exchange="avt.tasks", content_type=content_type)
    ready.publish("encode", "{}", exchange="avt.tasks")

    [delivery] = ready.intake("encode").take(2)

    assert delivery.body == b"{}"
    with redis.Redis.from_url(ready.url) as client:
        assert client.xlen("avt:q:encode:dead") == 1


def test_the_same_intake_works_on_after_the_broker_was_away(own_server: Any, make_desk: Callable[[str], Any]) -> None:
    desk = make_desk(own_server.url)
    broker.declare_tasks(desk.connect(), ["encode"])
    desk.publish("encode", "1", exchange="avt.tasks")
    intake = desk.intake("encode")
    [first] = intake.take(2)

    own_server.stop()
    with pytest.raises(UnavailableError, match="does not answer"):
        intake.take(0.1)
    with pytest.raises(UnavailableError):
        intake.settle_many([([], [first.tag])])
    own_server.start()

    desk.publish("encode", "2", exchange="avt.tasks")
    [second] = wait_for(intake, 1)
    assert second.body == b"2"
    assert intake.settle_many([([], [first.tag]), ([], [second.tag])]) == [True, True]


def test_a_full_broker_is_unavailable_for_what_is_new(ready: Any) -> None:
    intake = ready.intake("encode")
    with redis.Redis.from_url(ready.url) as client:
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(UnavailableError, match="takes nothing new") as raised:
                intake.settle_many([([Outgoing("avt.tasks", "encode", "{}")], [])])
        finally:
            client.config_set("maxmemory", 0)

    assert raised.value.retry_after_seconds == 10


def test_closing_ends_a_wait(ready: Any) -> None:
    intake = ready.intake("encode")
    intake.close()
    began = monotonic()

    intake.wait(10)

    assert monotonic() - began < 1
