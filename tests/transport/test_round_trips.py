"""The number of requests to the server: constant in queues, time and messages."""

from __future__ import annotations

from time import monotonic
from typing import Any

import pytest
from kombu import Queue


def asked(bench: Any) -> int:
    """Return the number of requests so far, including this one: a script or a blocking read counts as one."""
    stats = bench.redis.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("evalsha", "xread"))


def declare(bench: Any, count: int) -> list[str]:
    names = [f"q{n}" for n in range(count)]
    bindings = [(name, "work", name) for name in names]
    bench.channel().declare_many(exchanges={"work": "direct"}, queues=names, bindings=bindings)
    return names


def round_of(bench: Any, queues: int, messages: int) -> int:
    """Return the requests needed to publish, take and acknowledge *messages* in as many *queues*."""
    names = declare(bench, queues)
    reading = bench.read(*names, prefetch=20, sweep_interval_seconds=60)
    reading.drain(0.01)
    with bench.connect().Producer() as producer:
        for name in names:
            producer.publish(0, exchange="work", routing_key=name)
        take(reading, queues)
        reading.drain_until(lambda: not any(bench.left(name) for name in names))
        before = asked(bench)
        for n in range(messages):
            producer.publish(n, exchange="work", routing_key=names[n % queues])
        take(reading, queues + messages)
        return asked(bench) - before


def take(reading: Any, count: int) -> None:
    """Take and acknowledge until *count* messages were received."""
    while len(reading.got) < count:
        for message in reading.drain(1):
            message.ack()


def test_a_message_costs_as_many_commands_with_a_hundred_queues_as_with_one(bench: Any) -> None:
    with_one = round_of(bench, 1, 400)
    bench.redis.flushall()
    with_many = round_of(bench, 100, 400)

    assert with_one <= 400 + 400 / 20 + 10
    assert with_many <= with_one + 10


def test_an_idle_consumer_polls_about_once_a_second(bench: Any) -> None:
    declare(bench, 50)
    reading = bench.read(*[f"q{n}" for n in range(50)], sweep_interval_seconds=60, lease_seconds=60)
    reading.drain(0.1)
    before = asked(bench)

    for _ in range(3):
        reading.drain(0.5)

    commands = asked(bench) - before
    print(f"an idle consumer of 50 queues: {commands / 1.5:.1f} commands a second")
    assert commands <= 5


def test_a_wake_up_reads_only_changed_streams(bench: Any) -> None:
    names = declare(bench, 200)
    reading = bench.read(*names, sweep_interval_seconds=60)
    reading.drain(0.1)
    bench.publish(1, key="q77")
    bench.redis.config_resetstat()

    reading.wait_for(1)

    stats = bench.redis.info("commandstats")
    assert stats["cmdstat_xreadgroup"]["calls"] <= 3
    assert stats["cmdstat_xlen"]["calls"] <= 5


def test_a_later_message_of_higher_priority_is_taken_first(bench: Any) -> None:
    names = declare(bench, 50)
    bench.publish(0, 0, key="q1")
    bench.publish(9, key="q2", priority=9)
    reading = bench.read(*names, prefetch=1, sweep_interval_seconds=60)
    take(reading, 3)
    reading.drain(0.05)
    bench.publish(1, key="q1", priority=1)
    bench.publish(8, key="q2", priority=8)

    take(reading, 5)

    assert reading.bodies == [9, 0, 0, 8, 1]


def test_memory_and_keys_do_not_grow_with_messages(bench: Any) -> None:
    bench.queue()
    send_and_take(bench, 500)
    keys, memory = bench.redis.dbsize(), used_memory(bench)

    send_and_take(bench, 10_000)

    assert bench.redis.dbsize() == keys
    deadline = monotonic() + 5
    while used_memory(bench) >= memory + 1_000_000:  # buffers of recently closed connections
        assert monotonic() < deadline
        bench.redis.wait(1, 20)


def used_memory(bench: Any) -> int:
    return int(bench.redis.info("memory")["used_memory"])


def send_and_take(bench: Any, count: int) -> None:
    with bench.connect().Producer() as producer, producer.batch(max_size=500):
        for n in range(count):
            producer.publish(n, exchange="work", routing_key="tasks", priority=n % 2)
    connection = bench.connect()
    got = 0

    def count_and_ack(message: Any) -> None:
        nonlocal got
        got += 1
        message.ack()

    with connection.Consumer([Queue("tasks", no_declare=True)], on_message=count_and_ack):
        while got < count:
            connection.drain_events(timeout=5)
    connection.close()


@pytest.mark.parametrize("seconds", [0, 0.05])
def test_a_drain_finds_messages_published_before_it(bench: Any, seconds: float) -> None:
    bench.queue()
    reading = bench.read()
    reading.drain(0.05)
    bench.publish(1)

    reading.drain(seconds)

    assert reading.bodies == [1]
