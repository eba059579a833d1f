"""The registry of workers on the real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from avtomatika import broker
from avtomatika.broker import Consumer, Outgoing
from avtomatika.core.plan import TASKS
from avtomatika.core.shards import shard_prefixes
from avtomatika.errors import NotFoundError
from avtomatika.schemas.wire import Heartbeat, Registered
from avtomatika.store import WorkerRegistry
from avtomatika.store.worker_record import LOST_AFTER_SECONDS
from avtomatika.store.worker_registry import DRAINED_SECONDS, WORKER_TTL_SECONDS
from avtomatika.transport import RedisClient

from ..support.servers import in_shards
from .conftest import House

RECORD = {"type": "video", "skills": [{"name": "encode", "schema": {"type": "object"}}]}


@pytest.fixture
def registry(redis_url: str) -> Iterator[WorkerRegistry]:
    registry = WorkerRegistry.connect(redis_url)
    yield registry
    registry.close()


def test_a_worker_that_registered_is_listed_with_what_it_said(registry: WorkerRegistry) -> None:
    registry.register("w-2", RECORD)
    registry.register("w-1", RECORD)

    first, second = registry.workers()

    assert (first.worker_id, second.worker_id) == ("w-1", "w-2")
    assert first.record == RECORD
    assert first.status == "idle"
    assert 0 < first.since_ms <= first.heard_ms
    assert registry.skills("w-1") == ("encode",)


def test_a_heartbeat_says_how_a_worker_fares_and_an_empty_one_leaves_it(registry: WorkerRegistry) -> None:
    registry.register("w-1", RECORD)

    assert registry.beat("w-1", {"status": "busy", "running": 2})
    assert registry.beat("w-1", {})

    [worker] = registry.workers()
    assert (worker.status, worker.beat["running"]) == ("busy", 2)


def test_the_heartbeat_of_a_stranger_makes_it_no_worker(registry: WorkerRegistry) -> None:
    assert not registry.beat("w-1", {"status": "busy"})
    registry.record([Heartbeat("w-2", {"status": "busy"}), Registered("w-3", RECORD)])

    assert [worker.worker_id for worker in registry.workers()] == ["w-3"]


def test_a_worker_that_is_silent_is_lost_and_then_forgotten(registry: WorkerRegistry, redis_url: str) -> None:
    registry.register("w-1", RECORD)
    with redis.Redis.from_url(redis_url) as client:
        past_ms = int(client.hget("{avt.g0}:worker:w-1", "at")) - (LOST_AFTER_SECONDS + 1) * 1000
        client.hset("{avt.g0}:worker:w-1", "at", past_ms)
        [lost] = registry.workers()
        client.delete("{avt.g0}:worker:w-1")
        client.zadd("{avt.g0}:workers", {"w-1": past_ms - WORKER_TTL_SECONDS * 1000})

        assert lost.status == "lost"
        assert 0 < LOST_AFTER_SECONDS * 1000 < lost.silent_ms
        assert registry.workers() == []
        assert client.zcard("{avt.g0}:workers") == 0


def test_what_is_known_of_a_worker_expires(registry: WorkerRegistry, redis_url: str) -> None:
    registry.register("w-1", RECORD)
    registry.beat("w-1", {"status": "idle"})

    with redis.Redis.from_url(redis_url) as client:
        assert 0 < client.ttl("{avt.g0}:worker:w-1") <= 120


def test_the_fleet_is_whoever_can_be_chosen_with_what_it_has_to_do(registry: WorkerRegistry, redis_url: str) -> None:
    with broker.connect(redis_url) as connection:
        for worker_id in ("w-1", "w-2", "gone"):
            broker.declare_tasks(connection, ["encode"], worker_id=worker_id)
        intake = Consumer(connection, [], prefetch=1)
        intake.settle_many([([Outgoing(TASKS, "@w-1", "{}", priority=level) for level in (0, 0, 5)], ())])
        intake.close()
    for worker_id in ("w-1", "w-2", "gone", "without-queue"):
        registry.register(worker_id, {**RECORD, "concurrency": 3, "costs": {"encode": 1.5}})
    registry.beat("w-2", {"status": "busy", "running": 2, "standby": True})
    registry.beat("gone", {"status": "offline"})
    registry.chosen(["w-2", "w-1", "nobody"])

    first, second = registry.fleet()

    assert (first.worker_id, first.load, first.last_chosen, first.is_standby) == ("w-1", 3, 2, False)
    assert (second.worker_id, second.load, second.last_chosen, second.is_standby) == ("w-2", 2, 1, True)
    assert (first.skills, first.slots, first.costs) == ({"encode"}, 3, {"encode": 1.5})


def test_the_load_of_a_worker_counts_its_tasks_in_all_shards(redis_url: str) -> None:
    prefixes, url = shard_prefixes("g0", 4), in_shards(redis_url, 4)
    registry = WorkerRegistry.connect(url, prefixes=prefixes)
    with broker.connect(url, prefixes=prefixes) as connection, connection.channel() as channel:
        broker.declare_tasks(connection, ["encode"], worker_id="w-1")
        channel.settle_many([([Outgoing(TASKS, "@w-1", "{}", shard=prefix)], ()) for prefix in prefixes[1:]])
    registry.register("w-1", RECORD)

    [worker] = registry.fleet()

    assert worker.load == 3
    registry.close()


def test_a_worker_is_a_standby_when_none_of_its_links_takes_tasks_here(
    registry: WorkerRegistry, redis_url: str
) -> None:
    registry.register("w-1", RECORD)
    registry.beat("w-1", {"status": "idle", "standby": True})
    before = registry.workers()[0].is_standby
    registry.beat("w-1", {"status": "idle", "standby": False})
    registry.beat("w-1", {"status": "idle", "standby": True})
    [worker] = registry.workers()
    with redis.Redis.from_url(redis_url) as client:
        client.hset("{avt.g0}:worker:w-1", "served", worker.heard_ms - 13_000)

    assert (before, worker.is_standby, registry.workers()[0].is_standby) == (True, False, True)


def test_what_a_worker_holds_is_known_until_it_says_else_or_registers_anew(
    registry: WorkerRegistry, redis_url: str
) -> None:
    with broker.connect(redis_url) as connection:
        broker.declare_tasks(connection, ["encode"], worker_id="w-1")
    registry.register("w-1", RECORD)
    registry.beat("w-1", {"status": "idle", "holds": ["aa", "bb"]})
    registry.beat("w-1", {"status": "busy"})
    [told] = registry.fleet(with_holdings=True)
    [not_asked] = registry.fleet()
    registry.beat("w-1", {"status": "busy", "holds": ["bb"]})
    [changed] = registry.fleet(with_holdings=True)
    registry.register("w-1", RECORD)
    [anew] = registry.fleet(with_holdings=True)

    assert (told.cached_files, changed.cached_files, anew.cached_files) == ({"aa", "bb"}, {"bb"}, frozenset())
    assert not_asked.cached_files == frozenset()


@pytest.mark.parametrize("said", [7, "aa", {"aa": 1}, [None, 3, ["aa"]]])
def test_who_tells_nonsense_of_its_files_has_none(registry: WorkerRegistry, redis_url: str, *, said: object) -> None:
    with broker.connect(redis_url) as connection:
        broker.declare_tasks(connection, ["encode"], worker_id="w-1")
    registry.register("w-1", RECORD)
    registry.beat("w-1", {"status": "idle", "holds": said})

    [worker] = registry.fleet(with_holdings=True)

    assert worker.cached_files == frozenset()


def test_the_load_counts_what_was_routed_since_the_last_heartbeat(registry: WorkerRegistry, redis_url: str) -> None:
    registry.register("w-1", RECORD)
    registry.beat("w-1", {"status": "busy", "running": 2})
    with broker.connect(redis_url) as connection:
        broker.declare_tasks(connection, ["encode"], worker_id="w-1")
        intake = Consumer(connection, [], prefetch=1)
        intake.settle_many([([Outgoing(TASKS, "@w-1", "{}")], ())])
        intake.close()
    registry.chosen(["w-1"])
    [before] = registry.fleet()
    registry.beat("w-1", {"status": "busy", "running": 3})
    [after] = registry.fleet()

    assert (before.load, after.load) == (3, 3)


def test_a_reputation_is_how_the_last_tasks_ended_and_outlives_a_new_start(registry: WorkerRegistry) -> None:
    registry.register("w-1", RECORD)
    registry.register("w-2", RECORD)
    registry.record_outcomes({"w-1": (0, 2), "w-2": (5, 0), "nobody": (0, 1)})
    registry.register("w-1", RECORD)

    first, second = registry.workers()

    assert first.reputation == pytest.approx(0.81, abs=0.001)
    assert second.reputation == 1
    registry.record_outcomes({"w-1": (10, 0)})
    assert registry.workers()[0].reputation == pytest.approx(1 - 0.19 * 0.9**10, abs=0.001)


def test_a_reputation_comes_back_with_time(registry: WorkerRegistry, redis_url: str) -> None:
    registry.register("w-1", RECORD)
    registry.record_outcomes({"w-1": (0, 5)})
    with redis.Redis.from_url(redis_url) as client:
        judged = int(client.hget("{avt.g0}:worker:w-1", "judged"))
        client.hset("{avt.g0}:worker:w-1", "judged", judged - 600_000)

    [worker] = registry.workers()
    registry.record_outcomes({"w-1": (0, 1)})

    assert worker.reputation == pytest.approx(1 - (1 - 0.9**5) / 2, abs=0.001)
    assert registry.workers()[0].reputation == pytest.approx(0.9 * worker.reputation, abs=0.001)


def test_a_worker_that_may_not_authenticate_is_revoked_and_chosen_for_nothing(redis_url: str) -> None:
    server = RedisClient.connect(redis_url)
    registry = WorkerRegistry(server, is_authorized=lambda worker_id: worker_id != "w-1")
    for worker_id in ("w-1", "w-2"):
        registry.register(worker_id, {"type": "", "version": "", "skills": [{"name": "encode"}]})
        registry.beat(worker_id, {"status": "idle"})

    assert {each.worker_id: each.status for each in registry.workers()} == {"w-1": "revoked", "w-2": "idle"}
    assert [each.is_online for each in registry.workers()] == [False, True]
    server.close()


def test_names_of_workers_that_left_do_not_gather(house: House) -> None:
    for number in range(20):
        house.store.registry.register(f"w{number}", {"skills": []})
    house.client.zadd("{avt.g0}:workers", {f"w{number}": 1 for number in range(20)})

    house.store.registry.register("another", {"skills": []})

    assert house.client.zrange("{avt.g0}:workers", 0, -1) == [b"another"]


def test_a_heartbeat_names_the_running_tasks(registry: WorkerRegistry) -> None:
    registry.register("w-1", RECORD)
    registry.beat("w-1", {"tasks": [{"task_id": "g0-1.2.0", "skill": "encode", "running_ms": 5000}, {"task_id": 7}]})

    [worker] = registry.workers()

    assert worker.tasks[0] == {
        "task_id": "g0-1.2.0",
        "skill": "encode",
        "running_ms": 5000,
        "job_id": "g0-1",
        "started_ms": worker.heard_ms - 5000,
    }
    assert worker.tasks[1]["started_ms"] is None


def test_a_drained_worker_stays_so_when_it_registers_again_until_it_is_resumed(registry: WorkerRegistry) -> None:
    registry.register("w-1", RECORD)
    registry.drain("w-1", by="first")
    registry.drain("w-1", by="second")
    registry.register("w-1", RECORD)
    registry.beat("w-1", {"status": "busy"})

    drained, is_drained = registry.find("w-1"), registry.is_drained("w-1")
    registry.resume("w-1")
    resumed = registry.find("w-1")

    assert (drained.status, drained.drain_requested_by, is_drained) == ("draining", "first", True)
    assert (drained.is_online, drained.takes_tasks) == (True, False)
    assert drained.unfit is not None
    assert drained.unfit.skills == {"encode"}
    assert (resumed.status, resumed.unfit) == ("busy", None)


def test_a_drain_ends_after_a_month(registry: WorkerRegistry, redis_url: str) -> None:
    registry.register("w-1", RECORD)
    registry.register("w-2", RECORD)
    with redis.Redis.from_url(redis_url) as client:
        client.hset("{avt.g0}:workers:drained", "w-1", f"{client.time()[0] * 1000 - DRAINED_SECONDS * 1000 - 1} ops")
        registry.drain("w-2", by="ops")

        assert [each.decode() for each in client.hkeys("{avt.g0}:workers:drained")] == ["w-2"]
        assert 0 < client.ttl("{avt.g0}:workers:drained") <= DRAINED_SECONDS


def test_only_registered_workers_are_drained(registry: WorkerRegistry) -> None:
    registry.register("w-1", RECORD)

    with pytest.raises(NotFoundError, match="w-1"):
        registry.drain("w-2", by="ops")
    with pytest.raises(NotFoundError):
        registry.resume("w-2")
    registry.resume("w-1")


def test_a_silent_worker_whose_messages_are_rejected_is_revoked(registry: WorkerRegistry, redis_url: str) -> None:
    registry.register("w-1", RECORD)
    registry.refuse(["w-1", "no such", "w-1:tasks"])
    alive = registry.find("w-1").status
    with redis.Redis.from_url(redis_url) as client:
        client.hincrby("{avt.g0}:worker:w-1", "at", -21_000)

        assert (alive, registry.find("w-1").status) == ("idle", "revoked")
        assert client.exists("{avt.g0}:worker:no such") == 0


def test_a_message_that_is_accepted_later_ends_the_suspicion(registry: WorkerRegistry, redis_url: str) -> None:
    registry.register("w-1", RECORD)
    registry.refuse(["w-1"])
    registry.beat("w-1", {"status": "idle"})
    with redis.Redis.from_url(redis_url) as client:
        for field in ("at", "refused"):
            client.hincrby("{avt.g0}:worker:w-1", field, -60_000 - (field == "refused"))

        assert registry.find("w-1").status == "lost"
