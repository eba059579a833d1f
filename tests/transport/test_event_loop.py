"""Consuming in kombu's event loop, as Celery's workers do, without blocking it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Thread
from time import monotonic
from typing import Any

import pytest
from kombu import Connection, Queue
from kombu.asynchronous import Hub


@dataclass
class Loop:
    """A hub and a consumer of ``tasks`` in it."""

    connection: Connection
    prefetch: int = 0
    hub: Hub = field(default_factory=Hub)
    got: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hub.propagate_errors = self.connection.connection_errors
        self.connection.register_with_event_loop(self.hub)
        self.consumer = self.connection.Consumer([Queue("tasks", no_declare=True)], on_message=self.got.append)
        self.consumer.qos(prefetch_count=self.prefetch)
        self.consumer.consume()

    @property
    def bodies(self) -> list[Any]:
        return [message.payload for message in self.got]

    def turn_until(self, done: Callable[[], object], seconds: float = 5) -> None:
        deadline = monotonic() + seconds
        while not done():
            assert monotonic() < deadline, "it did not come to that in time"
            self.hub.run_once()

    def turn(self, times: int) -> None:
        for _ in range(times):
            self.hub.run_once()


@pytest.fixture
def loop(bench: Any) -> Iterator[Callable[..., Loop]]:
    made: list[Loop] = []

    def make(prefetch: int = 0, **options: Any) -> Loop:
        made.append(Loop(bench.connect(**options), prefetch))
        return made[-1]

    bench.queue()
    yield make
    for each in made:
        each.connection.release()
        each.hub.close()


def test_messages_are_delivered_at_once_while_the_loop_waits(bench: Any, loop: Callable[..., Loop]) -> None:
    waiting = loop()
    waiting.turn(2)
    began = monotonic()
    publisher = Thread(target=bench.publish, args=(1, 2, 3))
    publisher.start()

    waiting.turn_until(lambda: len(waiting.got) == 3)

    publisher.join()
    assert waiting.bodies == [1, 2, 3]
    assert monotonic() - began < 0.9


def test_an_acknowledgement_in_another_thread_frees_credit(bench: Any, loop: Callable[..., Loop]) -> None:
    waiting = loop(prefetch=1)
    bench.publish(1, 2)
    waiting.turn_until(lambda: waiting.got)
    waiting.turn(2)
    assert waiting.bodies == [1]
    began = monotonic()
    answering = Thread(target=waiting.got[0].ack)
    answering.start()

    waiting.turn_until(lambda: len(waiting.got) == 2)

    answering.join()
    assert monotonic() - began < 0.9


def test_an_idle_loop_sleeps(bench: Any, loop: Callable[..., Loop]) -> None:
    waiting = loop(sweep_interval_seconds=60)
    until, turns = monotonic() + 2, 0

    while monotonic() < until:
        waiting.turn(1)
        turns += 1

    assert turns < 15  # some of them only look at the clock


def test_messages_of_a_new_queue_and_a_new_priority_are_delivered(bench: Any, loop: Callable[..., Loop]) -> None:
    waiting = loop()
    waiting.turn(2)
    bench.queue("more")
    waiting.consumer.add_queue(Queue("more", no_declare=True))
    waiting.consumer.consume()
    waiting.turn(2)

    bench.publish("new level", priority=5)
    bench.publish("new queue", key="more")
    waiting.turn_until(lambda: len(waiting.got) == 2)

    assert sorted(waiting.bodies) == ["new level", "new queue"]


def test_a_delayed_message_is_delivered_when_due(bench: Any, loop: Callable[..., Loop]) -> None:
    waiting = loop()
    waiting.turn(2)
    bench.publish("late", headers={"x-delay": 150})
    began = monotonic()

    waiting.turn_until(lambda: waiting.got)

    assert monotonic() - began < 0.9


def test_an_overridden_can_consume_is_called_for_each_message(bench: Any, loop: Callable[..., Loop]) -> None:
    """As Celery does for ``worker_disable_prefetch``."""
    waiting = loop(prefetch=10)
    allowed = 1
    waiting.consumer.channel.qos.can_consume = lambda: len(waiting.got) < allowed
    bench.publish(1, 2, 3)
    waiting.turn_until(lambda: waiting.got)
    waiting.turn(3)
    assert waiting.bodies == [1]

    allowed = 2
    waiting.turn_until(lambda: len(waiting.got) > 1)
    waiting.turn(3)

    assert waiting.bodies == [1, 2]


def test_a_lost_server_raises_a_connection_error(own_server: Any, make_bench: Any) -> None:
    bench = make_bench(own_server.url)
    bench.queue()
    waiting = Loop(bench.connect())
    waiting.turn(2)
    own_server.kill()

    with pytest.raises(waiting.connection.connection_errors):
        waiting.turn_until(lambda: False)
    waiting.hub.reset()
    waiting.connection.collect()

    own_server.start()
    bench.queue()
    waiting = Loop(bench.connect(), hub=waiting.hub)
    bench.publish(1)
    waiting.turn_until(lambda: waiting.got)
    waiting.connection.release()
    waiting.hub.close()


def test_a_server_that_does_not_reply_times_out(own_server: Any, make_bench: Any) -> None:
    bench = make_bench(own_server.url)
    bench.queue()
    waiting = Loop(bench.connect(socket_timeout=0.4))
    waiting.turn(2)

    pid = own_server.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(waiting.connection.connection_errors):
            waiting.turn_until(lambda: False)
    finally:
        os.kill(pid, signal.SIGCONT)

    waiting.connection.release()
    waiting.hub.close()
