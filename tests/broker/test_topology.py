"""A plan becomes exchanges, queues and bindings that any kombu Producer can publish to."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from avtomatika import broker
from avtomatika.core.plan import TASKS, TIMERS, WORKERS, Plan
from avtomatika.errors import NoRouteError, UnavailableError


def test_a_plain_producer_reaches_the_queue_that_the_plan_binds(desk: Any, plan: Plan) -> None:
    broker.declare(desk.connect(), [plan])

    desk.publish("video@1f3a9c2e.encode.success", '{"n":1}')

    [delivery] = desk.consumer("steps.video@1f3a9c2e.heavy").take(2)
    assert delivery.body == b'{"n":1}'
    assert desk.consumer("steps.video@1f3a9c2e").take(0) == []


def test_every_binding_of_the_plan_is_declared(desk: Any, plan: Plan) -> None:
    connection = desk.connect()

    broker.declare(connection, [plan])

    with connection.channel() as channel:
        bound = {
            (str(key), queue) for queue, exchange, key in channel.topology.all_bindings() if exchange == "avt.steps"
        }
        assert bound == {(str(binding.key), binding.queue) for binding in plan.bindings}
        assert channel.router.route(TASKS, "encode").queues == ("encode",)
        assert channel.router.route(TIMERS, TIMERS).queues == (TIMERS,)
        assert channel.router.route(WORKERS, broker.TAKEN).queues == (WORKERS,)


def test_declaring_twice_changes_nothing(desk: Any, plan: Plan) -> None:
    connection = desk.connect()
    broker.declare(connection, [plan])
    with connection.channel() as channel:
        before = channel.router.route("avt.steps", "video@1f3a9c2e.encode._start")

    broker.declare(connection, [plan])

    with connection.channel() as channel:
        assert channel.router.route("avt.steps", "video@1f3a9c2e.encode._start") == before


def test_an_invalid_binding_is_rejected_before_anything_is_declared(desk: Any, plan: Plan, astray: Plan) -> None:
    connection = desk.connect()

    with pytest.raises(NoRouteError, match=r"encode\.success"):
        broker.declare(connection, [plan, astray])

    with connection.channel() as channel:
        assert channel.topology.all_bindings() == []


def test_a_worker_declares_its_task_types(desk: Any) -> None:
    broker.declare_tasks(desk.connect(), ["resize"])

    desk.publish("resize", exchange=TASKS)

    assert len(desk.consumer("resize").take(2)) == 1


def test_errors_name_an_unreachable_broker_without_its_password(plan: Plan) -> None:
    with broker.connect("redis://me:secret@127.0.0.1:1/0") as connection, pytest.raises(UnavailableError) as raised:
        broker.declare(connection, [plan])

    assert "redis://127.0.0.1:1/0" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_an_unsupported_scheme_is_rejected_without_showing_the_password() -> None:
    with pytest.raises(ValueError, match=r"'http://host/'") as raised:
        broker.connect("http://me:secret@host/")

    assert "secret" not in str(raised.value)


def test_an_empty_queue_of_a_skill_without_workers_expires_and_is_declared_again(desk: Any, plan: Plan) -> None:
    connection = desk.connect()
    server = redis.Redis.from_url(desk.url, decode_responses=True)
    broker.declare(connection, [plan])
    broker.declare_tasks(connection, ["invented"])
    due = {name: (0 if name == "invented" else 2**52) for name in server.zrange("{avt.g0}:expiring", 0, -1)}
    assert "invented" in due
    assert "encode" not in due, "a plan needs it"
    server.zadd("{avt.g0}:expiring", due)

    consumer = desk.consumer("encode")
    while server.hexists("{avt.g0}:queues", "invented"):
        consumer.take(0.1)

    with connection.channel() as channel:
        assert ("invented", TASKS, "invented") not in channel.topology.all_bindings()
        broker.declare_tasks(connection, ["invented"])
        assert ("invented", TASKS, "invented") in channel.topology.all_bindings()
    server.close()
