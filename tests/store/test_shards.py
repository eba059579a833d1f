"""Where jobs are created in an installation with several shards, and that their keys hold across shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from time import time
from typing import Any

import pytest
import redis

from avtomatika import broker
from avtomatika.core.shards import choose_shard, shard_names, shard_prefixes
from avtomatika.errors import AvtomatikaError, ConflictError, NoRouteError, QuotaExceededError, SettingsError
from avtomatika.store import CreatedJob, NewJob, Store, Sweeper
from avtomatika.transport import Router

from ..support.cluster import Cluster
from ..support.servers import OwnServer, in_shards
from .conftest import bp

SHARDS = 4
HOUR_MS = 3_600_000
#: A store of an installation with a number of shards.
Open = Callable[..., Store]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    nodes: list[OwnServer] = []

    def start(**config: Any) -> OwnServer:
        nodes.append(OwnServer(tmp_path_factory.mktemp("node"), **config))
        return nodes[-1]

    yield Cluster(start, primaries=3)
    for each in nodes:
        each.kill()


@pytest.fixture(params=["server", "cluster"])
def client(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A client of an empty server or cluster."""
    if request.param == "cluster":
        cluster = request.getfixturevalue("cluster")
        with redis.RedisCluster(host="127.0.0.1", port=cluster.nodes[0].port) as client:
            client.flushall(target_nodes=redis.RedisCluster.PRIMARIES)
            client.url = cluster.url
            yield client
    else:
        url = request.getfixturevalue("redis_url")
        with redis.Redis.from_url(url) as client:
            client.url = in_shards(url, SHARDS)
            yield client


@pytest.fixture
def connected(client: Any) -> Iterator[Open]:
    with ExitStack() as stack:

        def connect(shards: int = SHARDS, *, declare: bool = True) -> Store:
            prefixes = shard_prefixes("g0", shards)
            if declare:
                with broker.connect(client.url, prefixes=prefixes) as connection:
                    broker.declare(connection, [bp.plan])
            store = Store.connect(client.url, prefixes=prefixes)
            stack.callback(store.close)
            return store

        yield connect


@pytest.fixture
def store(connected: Open) -> Store:
    return connected()


def new(**fields: Any) -> NewJob:
    return NewJob(plan=bp.plan, client="me", **fields)


def shard_of(store: Store, job_id: str) -> str:
    """The shard of an existing job, which is also that of its keys."""
    keys = store._keys.of(job_id)
    assert store._server.execute(("EXISTS", keys.job(job_id))) == 1
    assert job_id.startswith(f"{keys.shard}-")
    return keys.shard


def count(client: Any) -> int:
    """The number of all jobs."""
    return sum(client.zcard(key) for key in client.scan_iter("*:jobs"))


def key_elsewhere(text: str = "elsewhere") -> tuple[str, str]:
    """An idempotency key and a unique key that choose different shards."""
    return next((f"{text}{n}", f"u{n}") for n in range(100) if home_of(f"{text}{n}") != line_of(f"u{n}"))


def home_of(key: str, shards: int = SHARDS) -> str:
    return choose_shard(f"me {key}", shard_names("g0", shards))


def line_of(key: str, shards: int = SHARDS) -> str:
    from hashlib import sha256

    from avtomatika.store.keys import Keys

    line = Keys(*shard_prefixes("g0", shards)).unique("me", "video", sha256(key.encode()).hexdigest())
    return choose_shard(line, shard_names("g0", shards))


# ---------------------------------------------------------------- where


def test_jobs_spread_over_the_shards(store: Store) -> None:
    found = Counter(shard_of(store, store.create(new()).job_id) for _ in range(60))

    assert sorted(found) == sorted(shard_names("g0", SHARDS))
    assert max(found.values()) - min(found.values()) < 20


def test_a_shard_with_more_unfinished_jobs_gets_fewer(store: Store, client: Any) -> None:
    busy = store._keys.shards[1]
    client.zadd(busy.by_status("pending"), {f"{busy.shard}-{n}": n for n in range(1000)})

    found = Counter(shard_of(store, store.create(new()).job_id) for _ in range(40))

    assert busy.shard not in found
    assert len(found) == SHARDS - 1


def test_the_jobs_of_a_batch_share_a_shard(store: Store) -> None:
    made = store.create_many([new() for _ in range(20)])

    assert len({shard_of(store, each.job_id) for each in made}) == 1
    assert not any(each.existing for each in made)


def test_a_job_that_continues_another_one_stays_in_its_shard(store: Store) -> None:
    for name in shard_names("g0", SHARDS):
        origin = next(
            job_id for job_id in (store.create(new()).job_id for _ in range(200)) if job_id.startswith(f"{name}-")
        )
        again = store.create(new(retry_of=origin, origins=[origin], idempotency_key=f"retry {origin}"))
        fork = store.create(new(fork_of=again.job_id, origins=[origin, again.job_id]))

        assert {shard_of(store, each.job_id) for each in (again, fork)} == {name}
        assert [job.id for job in store.later(origin)] == [again.job_id, fork.job_id]
        key = next(f"{name} {n}" for n in range(100) if line_of(f"{name} {n}") != name)
        moved = store.create(new(fork_of=origin, origins=[origin], unique_key=key))
        assert shard_of(store, moved.job_id) == line_of(key)
        assert {job.id for job in store.later(origin)} == {again.job_id, fork.job_id, moved.job_id}
        repeated = store.create(new(retry_of=origin, origins=[origin], idempotency_key=f"retry {origin}"))
        assert repeated == CreatedJob(again.job_id, existing=True)


def test_all_keys_of_a_job_are_in_its_shard(store: Store, client: Any) -> None:
    idempotency, unique = key_elsewhere()
    made = [store.create(new(labels={"a": "b"})) for _ in range(10)]
    made += [store.create(new(idempotency_key=f"k{n}")) for n in range(10)]
    made += [store.create(new(unique_key=unique, idempotency_key=idempotency), monthly=100)]
    made += store.create_many([new(unique_key=f"u{n}", on_conflict="queue", delay_seconds=60) for n in range(10)])
    for each in made:
        job = store.load(each.job_id)
        assert job is not None
        store.signal(job, "cancel", by="me")
        store.note(each.job_id, {"text": "x"})

    keys = [key.decode() for key in client.scan_iter()]
    assert all(key.startswith(store._server.prefixes) for key in keys), keys
    named = {key: job.job_id for key in keys for job in made if job.job_id in key}
    assert len(named) >= 3 * len(made)
    assert all(key.startswith(store._keys.of(job_id).prefix) for key, job_id in named.items())


# ---------------------------------------------------------------- idempotency keys


def test_an_idempotency_key_creates_one_job_in_any_shard(store: Store, client: Any) -> None:
    for n in range(12):
        first = store.create(new(idempotency_key=f"k{n}"))
        assert shard_of(store, first.job_id) == home_of(f"k{n}")
        assert store.create(new(idempotency_key=f"k{n}")) == CreatedJob(first.job_id, existing=True)
        with pytest.raises(ConflictError, match="another body"):
            store.create(new(idempotency_key=f"k{n}", priority=1))
    assert count(client) == 12


def test_a_key_in_another_shard_than_its_job_creates_one_job(store: Store, client: Any) -> None:
    idempotency, unique = key_elsewhere()
    wanted = new(unique_key=unique, idempotency_key=idempotency)

    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: store.create(wanted), range(24)))

    assert len({each.job_id for each in made}) == 1
    assert [each.existing for each in made].count(False) == 1
    assert shard_of(store, made[0].job_id) == line_of(unique)
    assert count(client) == 1
    with pytest.raises(ConflictError, match="another body"):
        store.create(new(unique_key="other", idempotency_key=idempotency))


def test_a_reserved_key_is_used_after_the_creation_failed(connected: Open, client: Any) -> None:
    store = connected(declare=False)
    idempotency, unique = key_elsewhere()
    wanted = new(unique_key=unique, idempotency_key=idempotency)
    with pytest.raises(NoRouteError):
        store.create(wanted)
    [key] = client.scan_iter("*idempotency*")
    [reserved] = client.get(key).decode().partition("?")[2].split()
    assert 0 < client.ttl(key) <= 60

    connected()
    made = store.create(wanted)

    assert made == CreatedJob(reserved, existing=False)
    assert client.ttl(key) == -1
    assert store.create(wanted) == CreatedJob(reserved, existing=True)


def test_a_key_remembers_the_existing_job_that_it_returned(store: Store, client: Any) -> None:
    idempotency, unique = key_elsewhere()
    first = store.create(new(unique_key=unique))
    wanted = new(unique_key=unique, idempotency_key=idempotency)
    assert store.create(wanted) == CreatedJob(first.job_id, existing=True)
    client.delete(*client.scan_iter("*:unique:*"))  # as if it had ended

    assert store.create(wanted) == CreatedJob(first.job_id, existing=True)
    assert count(client) == 1


def test_a_reserved_key_lives_as_long_as_the_last_of_its_jobs(store: Store, client: Any) -> None:
    batch = [new(unique_key=f"u{n}", idempotency_key="batch") for n in range(5)]
    made = store.create_many(batch)
    assert len({shard_of(store, each.job_id) for each in made}) > 1
    sweeper = Sweeper(store._server, Router(store._server))

    for place, each in enumerate(made):
        assert store.create_many(batch)[place] == CreatedJob(each.job_id, existing=True)
        assert list(client.scan_iter("*idempotency*"))
        client.zadd(store._keys.of(each.job_id).retention(), {each.job_id: 1})
        assert sweeper.expire_jobs().done == 1

    assert not list(client.scan_iter("*idempotency*"))
    assert not list(client.scan_iter("*job:*"))


# ---------------------------------------------------------------- more shards


def test_the_number_of_shards_never_shrinks(connected: Open, client: Any) -> None:
    connected(2).create(new())
    connected(4).create(new())

    with pytest.raises(SettingsError, match="AVTOMATIKA_SHARDS is 2, but the installation has 4 shards"):
        connected(2).create(new())
    assert sorted(client.hkeys("{avt.g0}:shards")) == [b"2", b"4"]


@pytest.mark.parametrize("age_ms", [0, 2 * HOUR_MS])
def test_keys_hold_when_shards_are_added(connected: Open, client: Any, age_ms: int) -> None:
    few = connected(2)
    wanted = [new(idempotency_key=f"k{n}") for n in range(16)]
    wanted += [new(unique_key=f"u{n}") for n in range(16)]
    wanted += [new(unique_key=f"both{n}", idempotency_key=f"both{n}") for n in range(16)]
    before = [few.create(each).job_id for each in wanted]
    many = connected(8)
    client.hset("{avt.g0}:shards", "8", int(time() * 1000) - age_ms)

    assert [many.create(each) for each in wanted] == [CreatedJob(each, existing=True) for each in before]
    with pytest.raises(ConflictError, match="another body"):
        many.create(new(idempotency_key="k3", priority=1))
    assert count(client) == len(wanted)


def test_new_keys_use_the_added_shards_once_no_process_has_the_former_number(connected: Open, client: Any) -> None:
    few, many = connected(2), connected(8)
    few.create(new())
    many.placement.record()

    early = [many.create(new(idempotency_key=f"early{n}")) for n in range(20)]
    assert [few.create(new(idempotency_key=f"early{n}")).job_id for n in range(20)] == [each.job_id for each in early]

    client.hset("{avt.g0}:shards", "8", int(time() * 1000) - 2 * HOUR_MS)
    later = connected(8)
    made = [later.create(new(idempotency_key=f"late{n}")).job_id for n in range(20)]
    assert [shard_of(later, each) for each in made] == [home_of(f"late{n}", 8) for n in range(20)]


def test_processes_with_the_former_and_the_new_number_create_one_job_for_a_key(connected: Open, client: Any) -> None:
    stores = [connected(1), connected(8)]
    for store in stores:
        store.placement.record()
    wanted = [new(idempotency_key=f"k{n}") for n in range(10)]
    wanted += [new(unique_key=f"u{n}") for n in range(10)]
    wanted += [new(unique_key=f"both{n}", idempotency_key=f"both{n}") for n in range(10)]

    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda n: stores[n // 30 % 2].create(wanted[n % 30]), range(120)))

    assert [len({each.job_id for each in made[n::30]}) for n in range(30)] == [1] * 30
    assert sum(not each.existing for each in made) == count(client) == 30


def test_a_version_without_shards_had_one(connected: Open, client: Any) -> None:
    first = connected(1).create(new(idempotency_key="k"))
    client.delete("{avt.g0}:shards")

    assert connected(8).create(new(idempotency_key="k")) == CreatedJob(first.job_id, existing=True)
    assert int(client.hget("{avt.g0}:shards", "1")) == 0


# ---------------------------------------------------------------- unique keys and quotas


def test_jobs_with_a_unique_key_meet_in_one_shard(store: Store, client: Any) -> None:
    for n in range(8):
        first = store.create(new(unique_key=f"u{n}"))
        assert shard_of(store, first.job_id) == line_of(f"u{n}")
        assert store.create(new(unique_key=f"u{n}")) == CreatedJob(first.job_id, existing=True)
        with pytest.raises(ConflictError, match=first.job_id):
            store.create(new(unique_key=f"u{n}", on_conflict="reject"))
    assert count(client) == 8


def test_a_batch_of_different_unique_keys_keeps_its_order(store: Store) -> None:
    known = store.create(new(unique_key="u3"))

    made = store.create_many([new(unique_key=f"u{n % 6}", priority=n) for n in range(12)])

    assert [shard_of(store, each.job_id) for each in made] == [line_of(f"u{n % 6}") for n in range(12)]
    assert [each.existing for each in made] == [n > 5 or n == 3 for n in range(12)]
    assert made[3].job_id == known.job_id
    jobs = store.load_many([each.job_id for each in made[:3]])
    assert [job and job.priority for job in jobs] == [0, 1, 2]


def test_a_quota_holds_over_all_shards(store: Store, client: Any) -> None:
    def create(n: int) -> CreatedJob | AvtomatikaError:
        try:
            return store.create(new(unique_key=f"u{n}" if n % 2 else None), monthly=20)
        except AvtomatikaError as error:
            return error

    with ThreadPoolExecutor(50) as threads:
        results = list(threads.map(create, range(50)))

    refused = [each for each in results if isinstance(each, AvtomatikaError)]
    assert len(refused) == 30
    assert {type(each) for each in refused} == {QuotaExceededError}
    assert count(client) == 20
    assert "20 of 20 jobs" in str(refused[-1])


def test_jobs_that_are_not_created_do_not_count(store: Store, client: Any) -> None:
    store.create(new(idempotency_key="k"), monthly=3)
    store.create(new(unique_key="u"), monthly=3)
    for _ in range(3):
        assert store.create(new(idempotency_key="k"), monthly=3).existing
        assert store.create(new(unique_key="u"), monthly=3).existing
        with pytest.raises(ConflictError):
            store.create(new(unique_key="u", on_conflict="reject"), monthly=3)
    with pytest.raises(QuotaExceededError):
        store.create_many([new(), new()], monthly=3)
    store.create(new(), monthly=3)

    assert store.create(new(idempotency_key="k"), monthly=3).existing
    assert store.create(new(unique_key="u"), monthly=3).existing
    with pytest.raises(QuotaExceededError, match="3 of 3 jobs a month have been created"):
        store.create(new(), monthly=3)
    [key] = client.scan_iter("{avt.g0}:quota:*")
    assert client.get(key) == b"3"
