"""Server and network faults: errors are raised, and everything recovers by reconnecting."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

import pytest
import redis
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError

from avtomatika.transport import NoRouteError, Outgoing, connect


def test_scripts_that_the_server_forgot_are_loaded_again(bench: Any) -> None:
    bench.queue()
    channel = bench.channel()
    channel.settle([Outgoing("work", "tasks", "1")], [])
    reading = bench.read()
    reading.wait_for(1)[0].ack()
    bench.redis.script_flush()

    channel.settle([Outgoing("work", "tasks", "2")], [])

    reading.wait_for(2)[1].ack()
    reading.drain_until(lambda: bench.left() == 0)


def test_a_consumer_survives_a_flush(bench: Any) -> None:
    bench.queue()
    channel = bench.channel()
    channel.settle([Outgoing("work", "tasks", "1")], [])
    reading = bench.read()
    reading.wait_for(1)
    bench.redis.flushall()

    with pytest.raises(NoRouteError):
        channel.settle([Outgoing("work", "tasks", "2")], [])
    bench.queue()
    channel.settle([Outgoing("work", "tasks", "3", priority=2)], [])

    assert reading.wait_for(2)[1].payload == 3


@pytest.mark.parametrize("way", ["publish", "batch"])
def test_a_producer_redeclares_lost_entities(bench: Any, way: str) -> None:
    queue = Queue("tasks", Exchange("work"), routing_key="tasks")
    connection = bench.connect()
    producer = connection.Producer(exchange=Exchange("work"), routing_key="tasks", serializer="json")
    producer.publish(1, declare=[queue])
    bench.redis.flushall()

    if way == "publish":
        producer.publish(2, declare=[queue])
    else:
        with producer.batch(max_size=10):
            producer.publish(2, declare=[queue])

    assert bench.read().wait_for(1)[0].payload == 2


def test_a_consumer_redeclares_lost_entities(bench: Any) -> None:
    own = Queue("mailbox", Exchange("control", type="fanout"), auto_delete=True, message_ttl=60)
    tasks = Queue("tasks", Exchange("work"), routing_key="tasks")
    got: list[Any] = []
    connection = bench.connect()
    with connection.Consumer([own, tasks], on_message=got.append):

        def drain_until(done: Callable[[], object]) -> None:
            deadline = monotonic() + 10
            while not done():
                assert monotonic() < deadline, "it did not come to that in time"
                with suppress(TimeoutError):
                    connection.drain_events(timeout=0.05)

        def declared() -> dict[str, Any]:
            limits = bench.redis.hgetall("{avt.g0}:limits")
            return {
                "queues": bench.redis.hkeys("{avt.g0}:queues"),
                "limits": limits,
                "fanouts": bench.redis.hkeys(listens),
            }

        listens = "{avt.g0}:q:mailbox:listens"
        drain_until(lambda: bench.redis.zscore("{avt.g0}:expiring", "mailbox"))
        before = declared()
        bench.redis.flushall()
        drain_until(lambda: declared() == before)

        bench.publish("news", exchange="control", key="")
        bench.publish("task")
        drain_until(lambda: len(got) == 2)

    assert sorted(message.payload for message in got) == ["news", "task"]


def test_a_deleted_consumer_group_is_recreated(bench: Any) -> None:
    bench.queue()
    bench.publish(1)
    bench.redis.xgroup_create("{avt.g0}:q:tasks:0", "avt", id="$")
    bench.redis.xgroup_destroy("{avt.g0}:q:tasks:0", "avt")

    assert bench.read().wait_for(1)[0].payload == 1


def test_a_consumer_continues_after_its_connections_were_cut(bench: Any) -> None:
    bench.queue()
    bench.publish(1)
    reading = bench.read()
    reading.wait_for(1)[0].ack()
    bench.redis.client_kill_filter(_type="normal", skipme=True)
    with suppress(*reading.connection.connection_errors):
        reading.drain(0.05)
    bench.publish(2)

    assert reading.wait_for(2)[1].payload == 2
    reading.got[1].ack()
    reading.drain_until(lambda: bench.left() == 0)


def test_messages_of_a_lost_reply_are_redelivered_without_waiting_for_the_lease(bench: Any) -> None:
    bench.queue()
    bench.publish(0)
    reading = bench.read(lease_seconds=60)
    reading.wait_for(1)[0].ack()
    bench.publish(1)
    bench.redis.xreadgroup("avt", reading.channel.router.consumer_name, {"{avt.g0}:q:tasks:0": ">"})
    bench.redis.client_kill_filter(_type="normal", skipme=True)
    with pytest.raises(redis.ConnectionError):
        reading.drain(0.05)

    [_, message] = reading.wait_for(2, seconds=2)

    assert message.properties["deliveries"] == 1


def test_consumer_and_publisher_recover_after_a_server_restart(own_server: Any, make_bench: Any) -> None:
    bench = make_bench(own_server.url)
    bench.queue()
    bench.redis.config_set("appendfsync", "always")
    bench.publish(*range(4))
    reading = bench.read(prefetch=10)
    reading.wait_for(4)

    own_server.kill()
    with pytest.raises(reading.connection.connection_errors):
        reading.drain(0.1)
    with pytest.raises((OperationalError, *reading.connection.connection_errors)):
        bench.publish(4)
    for message in reading.got[:2]:
        message.ack()
    own_server.start()

    bench.publish(5)
    deadline = monotonic() + 10
    while len(reading.got) < 5 or bench.left() > 3:
        assert monotonic() < deadline
        _drain(reading)
    assert reading.bodies == [0, 1, 2, 3, 5]


def _drain(reading: Any) -> list[Any]:
    try:
        return list(reading.drain(0.1))
    except reading.connection.connection_errors:
        return []


def test_a_server_that_does_not_reply_times_out(own_server: Any, make_bench: Callable[[str], Any]) -> None:
    bench = make_bench(own_server.url)
    bench.queue()
    channel = bench.channel(socket_timeout=0.3)
    bench.redis.execute_command("CLIENT", "PAUSE", "1500", "ALL")
    began = monotonic()

    with pytest.raises(redis.TimeoutError):
        channel.settle([Outgoing("work", "tasks", "1")], [])

    assert monotonic() - began < 1


def test_a_client_has_time_limits_and_checks_certificates() -> None:
    with connect("rediss://localhost:1/0") as client:
        settings = client.connection_pool.connection_kwargs

    assert settings["socket_timeout"] == 10
    assert settings["socket_connect_timeout"] == 5
    assert settings["ssl_check_hostname"]
    assert settings["health_check_interval"]
    with connect("rediss://localhost:1/0?ssl_cert_reqs=none") as client:
        assert not client.connection_pool.connection_kwargs["ssl_check_hostname"]
