"""The registry of workers on the real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from avtomatika.schemas.wire import Beat, Registered
from avtomatika.store import Registry
from avtomatika.store.registry import LOST_AFTER_SECONDS

RECORD = {"type": "video", "skills": [{"name": "encode", "schema": {"type": "object"}}]}


@pytest.fixture
def registry(redis_url: str) -> Iterator[Registry]:
    registry = Registry.connect(redis_url)
    yield registry
    registry.close()


def test_a_worker_that_registered_is_listed_with_what_it_said(registry: Registry) -> None:
    registry.register("w-2", RECORD)
    registry.register("w-1", RECORD)

    first, second = registry.workers()

    assert (first.worker_id, second.worker_id) == ("w-1", "w-2")
    assert first.record == RECORD
    assert first.status == "idle"
    assert 0 < first.since_ms <= first.heard_ms
    assert registry.skills("w-1") == ("encode",)


def test_a_heartbeat_says_how_a_worker_fares_and_an_empty_one_leaves_it(registry: Registry) -> None:
    registry.register("w-1", RECORD)

    assert registry.beat("w-1", {"status": "busy", "running": 2})
    assert registry.beat("w-1", {})

    [worker] = registry.workers()
    assert (worker.status, worker.beat["running"]) == ("busy", 2)


def test_the_heartbeat_of_a_stranger_makes_it_no_worker(registry: Registry) -> None:
    assert not registry.beat("w-1", {"status": "busy"})
    registry.hear([Beat("w-2", {"status": "busy"}), Registered("w-3", RECORD)])

    assert [worker.worker_id for worker in registry.workers()] == ["w-3"]


def test_a_worker_that_is_silent_is_lost_and_then_forgotten(registry: Registry, redis_url: str) -> None:
    registry.register("w-1", RECORD)
    with redis.Redis.from_url(redis_url) as client:
        past_ms = int(client.hget("avt:worker:w-1", "at")) - (LOST_AFTER_SECONDS + 1) * 1000
        client.hset("avt:worker:w-1", "at", past_ms)
        [lost] = registry.workers()
        client.delete("avt:worker:w-1")

        assert lost.status == "lost"
        assert 0 < LOST_AFTER_SECONDS * 1000 < lost.silent_ms
        assert registry.workers() == []
        assert client.zcard("avt:workers") == 0


def test_what_is_known_of_a_worker_expires(registry: Registry, redis_url: str) -> None:
    registry.register("w-1", RECORD)
    registry.beat("w-1", {"status": "idle"})

    with redis.Redis.from_url(redis_url) as client:
        assert 0 < client.ttl("avt:worker:w-1") <= 120
