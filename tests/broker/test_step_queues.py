"""The step queues of all plans on the broker, and deleting them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from avtomatika import broker
from avtomatika.broker import StepQueue, StepQueues
from avtomatika.core.plan import Plan

MAIN, HEAVY = "steps.video@1f3a9c2e", "steps.video@1f3a9c2e.heavy"


@pytest.fixture
def live(desk: Any, plan: Plan) -> Iterator[StepQueues]:
    connection = desk.connect()
    broker.declare(connection, [plan])
    with connection.channel() as channel:
        yield StepQueues(connection, channel)


def test_step_queues_know_their_plan(live: StepQueues) -> None:
    assert live.all() == [StepQueue(MAIN, "video@1f3a9c2e"), StepQueue(HEAVY, "video@1f3a9c2e", "heavy")]
    assert live.all()[0].blueprint == "video"


def test_all_messages_of_a_queue_count(live: StepQueues, desk: Any) -> None:
    for _ in range(3):
        desk.publish("video@1f3a9c2e.encode.success")
    desk.publish("video@1f3a9c2e.encode.success", priority=7)
    desk.publish("video@1f3a9c2e.encode.success", headers={"x-delay": 60_000})
    consumer = desk.consumer(HEAVY, prefetch=1)
    assert len(consumer.take(2)) == 1

    assert live.messages([MAIN, HEAVY]) == {MAIN: 0, HEAVY: 5}


def test_an_empty_queue_is_deleted_with_its_bindings(live: StepQueues) -> None:
    assert live.remove(HEAVY)

    assert [queue.name for queue in live.all()] == [MAIN]
    assert {queue for _, queue in live.bindings()} == {MAIN}


@pytest.mark.parametrize("properties", [{}, {"priority": 9}, {"headers": {"x-delay": 60_000}}], ids=str)
def test_a_queue_with_a_message_is_kept(live: StepQueues, desk: Any, properties: dict[str, Any]) -> None:
    desk.publish("video@1f3a9c2e.encode.success", **properties)

    assert not live.remove(HEAVY)
    assert live.messages([HEAVY]) == {HEAVY: 1}


def test_an_unacknowledged_message_keeps_its_queue(live: StepQueues, desk: Any) -> None:
    desk.publish("video@1f3a9c2e.encode.success")
    consumer = desk.consumer(HEAVY)
    assert len(consumer.take(2)) == 1

    assert not live.remove(HEAVY)


def test_bindings_can_be_removed_one_by_one(live: StepQueues) -> None:
    live.unbind([("video@1f3a9c2e.encode.failure", MAIN)])

    assert "video@1f3a9c2e.encode.failure" not in {key for key, _ in live.bindings()}
    assert len(live.all()) == 2
