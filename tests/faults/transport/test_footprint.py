"""A hundred thousand messages leave nothing behind on the server."""

from __future__ import annotations

from typing import Any

import pytest
from kombu import Queue

from ...support.scale import SCALE
from ...support.waiting import wait_until
from . import queues
from .consumers import QUEUE

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120 + 60 * SCALE)]

MESSAGES = 100_000 * SCALE


def send_and_take(url: str, count: int) -> None:
    with queues.connect(url) as connection, connection.Producer() as producer, producer.batch(max_size=500):
        for number in range(count):
            producer.publish(number, exchange="storm", routing_key=QUEUE, priority=number % 3)
    taken = 0

    def acknowledge(message: Any) -> None:
        nonlocal taken
        taken += 1
        message.ack()

    with queues.connect(url) as connection:
        consumer = connection.Consumer([Queue(QUEUE, no_declare=True)], on_message=acknowledge)
        consumer.qos(prefetch_count=500)
        with consumer:
            while taken < count:
                connection.drain_events(timeout=5)


def test_memory_and_keys_do_not_grow(redis_url: str) -> None:
    queues.declare(redis_url)
    send_and_take(redis_url, 1_000)
    with queues.client(redis_url) as server:
        keys, memory = server.dbsize(), used_memory(server)
        send_and_take(redis_url, MESSAGES)

        wait_until(lambda: used_memory(server) < memory + 1_000_000, 5, "as much free memory as before")
        assert server.dbsize() == keys
        print(f"{MESSAGES:,} messages: {keys} keys, {memory:,} -> {used_memory(server):,} bytes")


def used_memory(server: Any) -> int:
    return int(server.info("memory")["used_memory"])
