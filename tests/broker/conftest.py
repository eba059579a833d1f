"""Connections to the broker with short leases, closed after each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from kombu import Connection

from avtomatika import broker
from avtomatika.broker import Consumer
from avtomatika.core.plan import Binding, Plan, RoutingKey, StatePlan, Transition

BLUEPRINT, PLAN8 = "video", "1f3a9c2e"


def _plan(*bindings: Binding) -> Plan:
    states = {
        "encode": StatePlan("encode", is_start=True, transitions=(Transition("publish"),), task_types=("encode",)),
        "publish": StatePlan("publish", queue="heavy"),
    }
    return Plan(BLUEPRINT, PLAN8, "encode", states, bindings)


@pytest.fixture
def plan() -> Plan:
    """Two states, the second with its own queue."""
    main, heavy = f"steps.{BLUEPRINT}@{PLAN8}", f"steps.{BLUEPRINT}@{PLAN8}.heavy"
    return _plan(
        Binding(RoutingKey(BLUEPRINT, PLAN8, "encode", "_start"), main),
        Binding(RoutingKey(BLUEPRINT, PLAN8, "encode", "success"), heavy),
        Binding(RoutingKey(BLUEPRINT, PLAN8, "encode", "failure"), main),
    )


@pytest.fixture
def astray() -> Plan:
    """A plan with a binding to a queue that it does not declare."""
    return _plan(Binding(RoutingKey(BLUEPRINT, PLAN8, "encode", "success"), "steps.video@1f3a9c2e.gone"))


@pytest.fixture(autouse=True)
def no_pause_between_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that fail are retried at once."""
    monkeypatch.setattr("kombu.utils.functional.sleep", lambda seconds: None)


class Desk:
    """Connections and consumers of one broker."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        self.url = url
        self._stack = stack

    def connect(self, **options: Any) -> Connection:
        connection = broker.connect(self.url, **({"lease_seconds": 1, "max_deliveries": 3} | options))
        return self._stack.enter_context(connection)

    def consumer(self, *queues: str, prefetch: int = 10, **options: Any) -> Consumer:
        consumer = Consumer(self.connect(**options), queues, prefetch=prefetch)
        self._stack.callback(consumer.close)
        return consumer

    def publish(self, key: str, body: str = "{}", exchange: str = "avt.steps", **properties: Any) -> None:
        """Publish with a plain kombu Producer."""
        with self.connect() as connection, connection.Producer() as producer:
            properties = {"content_type": "application/json", "content_encoding": "utf-8"} | properties
            producer.publish(body, exchange=exchange, routing_key=key, **properties)


@pytest.fixture
def make_desk() -> Iterator[Callable[[str], Desk]]:
    with ExitStack() as stack:
        yield lambda url: Desk(url, stack)


@pytest.fixture
def desk(redis_url: str, make_desk: Callable[[str], Desk]) -> Desk:
    return make_desk(redis_url)
