"""What lists, counts and figures show of an installation with several shards, on one server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from random import Random
from typing import Any
from unittest.mock import ANY

import pytest
import redis
from orjson import dumps

from avtomatika import broker
from avtomatika.broker import Consumer, Outgoing
from avtomatika.core.job import JobStatus
from avtomatika.core.shards import shard_names, shard_prefixes
from avtomatika.errors import NotFoundError, UnavailableError
from avtomatika.store import (
    HealthState,
    JobCounts,
    JobFilter,
    NewJob,
    Overview,
    Store,
    check_server,
    job_list as listing,
)
from avtomatika.store.keys import Keys
from avtomatika.store.server_info import ServerInfoReader
from avtomatika.transport import Router

from ..support.cluster import Cluster
from ..support.servers import OwnServer, in_shards
from ..support.waiting import wait_until
from .conftest import CountingClient, bp

SHARDS = 4
NAMES = shard_names("g0", SHARDS)


@dataclass
class Installation:
    """The store of an installation with several shards, and the jobs in it."""

    url: str
    client: redis.Redis
    server: CountingClient
    keys: Keys
    store: Store
    #: Creation, id and other fields of each job.
    jobs: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)

    def put(self, shard: str | int, created: int, **fields: Any) -> str:
        """Write a job as the scripts do, at a time of its own; *shard* is one of this installation, or its number."""
        shard = self.keys.shards[shard % len(self.keys.shards)].shard if isinstance(shard, int) else shard
        job_id = f"{shard}-{len(self.jobs):05}"
        known = {"status": "failed", "client": "me", "blueprint": "video", "labels": {}, "text": "", **fields}
        keys, doc = self.keys.of(job_id), {"plan8": "0a1b2c3d", "state": "encode", "state_history": {}}
        record = {**doc, "steps": 0, "transitions": 0, "error": {"code": "X", "message": known["text"]}}
        init = {name: known[name] for name in ("blueprint", "client", "labels")}
        row = {"v": 1, "status": known["status"], "created": created, "updated": created}
        pipe = self.client.pipeline()
        pipe.hset(keys.job(job_id), mapping={**row, "doc": dumps(record), "init": dumps(init)})
        for index in keys.indexes_of(known["status"], known["client"], known["blueprint"], None, known["labels"]):
            pipe.zadd(index, {job_id: created})
        pipe.execute()
        self.jobs.append((created, job_id, known))
        return job_id

    @contextmanager
    def queues(self, *names: str) -> Iterator[list[Any]]:
        """A consumer of the queues *names* in each shard."""
        with ExitStack() as stack:
            intakes = []
            for prefix in self.server.prefixes:
                connection = stack.enter_context(broker.connect(self.url, prefixes=[prefix]))
                broker.declare_tasks(connection, names)
                intakes.append(Consumer(connection, list(names), prefetch=10))
                stack.callback(intakes[-1].close)
            yield intakes

    def ids(self, **wanted: Any) -> list[str]:
        """The jobs with these fields, newest first."""
        found = sorted(self.jobs, reverse=True)
        return [job_id for _, job_id, fields in found if all(fields[name] == value for name, value in wanted.items())]

    def walk(self, between: Any = None, *, limit: int = 7, **wanted: Any) -> list[str]:
        """The ids on all pages; *between* is called after each page."""
        ids: list[str] = []
        cursor = None
        while True:
            jobs, cursor = self.store.list_jobs(JobFilter(limit=limit, cursor=cursor, **wanted))
            ids += [job.id for job in jobs]
            if cursor is None:
                return ids
            if between is not None:
                between()


@contextmanager
def installed(url: str, prefixes: Sequence[str]) -> Iterator[Installation]:
    server = CountingClient.connect(url, prefixes=prefixes)
    with redis.Redis.from_url(url) as client:
        yield Installation(url, client, server, Keys(*prefixes), Store(server, Router(server)))
    server.close()


@pytest.fixture
def installation(redis_url: str) -> Iterator[Installation]:
    with installed(redis_url, shard_prefixes("g0", SHARDS)) as found:
        yield found


@pytest.fixture
def single(redis_url: str) -> Iterator[Installation]:
    """Another one on the same server, with one shard."""
    with installed(redis_url, shard_prefixes("g1", 1)) as found:
        yield found


def fill(installation: Installation, *, seed: int, count: int = 300) -> None:
    """Write jobs, several in each millisecond; most of them are in one shard."""
    random = Random(seed)
    for _ in range(count):
        installation.put(
            random.choice([*NAMES, NAMES[1], NAMES[1], NAMES[1]]),
            1000 + random.randrange(count // 3),
            status=random.choice(["failed", "finished", "pending"]),
            client=random.choice(["me", "you"]),
            labels=random.choice([{}, {"a": "1"}, {"a": "2"}]),
            text=random.choice(["disk full", "no network"]),
        )


FILTERS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"client": "you"}, {"client": "you"}),
    ({"labels": (("a", "1"),), "client": "me"}, {"labels": {"a": "1"}, "client": "me"}),
    ({"status": "failed", "labels": (("a", "2"),)}, {"status": "failed", "labels": {"a": "2"}}),
    ({"text": "DISK", "status": ("failed", "pending"), "client": "me"}, {"text": "disk full", "client": "me"}),
]


@pytest.mark.parametrize("per_call", [1, 6, 2000])
@pytest.mark.parametrize(("wanted", "fields"), FILTERS)
def test_pages_contain_every_job_once_in_order_while_jobs_are_created(
    installation: Installation,
    monkeypatch: pytest.MonkeyPatch,
    wanted: dict[str, Any],
    fields: dict[str, Any],
    per_call: int,
) -> None:
    monkeypatch.setattr(listing, "_PER_CALL", per_call)
    monkeypatch.setattr(listing, "_RECORDS_PER_CALL", per_call)
    fill(installation, seed=len(fields))
    statuses = wanted.get("status", ("failed", "finished", "pending"))
    expected = [each for each in installation.ids(**fields) if dict_of(installation)[each]["status"] in statuses]

    def create() -> None:
        installation.put(NAMES[len(installation.jobs) % SHARDS], 5000, **fields | {"labels": {"a": "1"}})

    assert installation.walk(**wanted, oldest_first=True, limit=50) == expected[::-1]
    assert installation.walk(create, **wanted) == expected


def dict_of(installation: Installation) -> dict[str, dict[str, Any]]:
    return {job_id: fields for _, job_id, fields in installation.jobs}


def test_a_page_takes_one_round_trip_and_is_full(installation: Installation) -> None:
    fill(installation, seed=1)
    installation.store.list_jobs(JobFilter())  # loads the scripts
    installation.server.round_trips = 0

    for limit in (1, 50, 200):
        jobs, cursor = installation.store.list_jobs(JobFilter(limit=limit))
        assert [job.id for job in jobs] == installation.ids()[:limit]
        assert cursor is not None
    assert installation.server.round_trips == 3


def test_jobs_are_counted_in_all_shards(installation: Installation) -> None:
    fill(installation, seed=2)
    statuses = Counter(fields["status"] for _, _, fields in installation.jobs)
    found = dict_of(installation).values()
    mine = Counter(fields["status"] for fields in found if fields["client"] == "me" and fields["labels"] == {"a": "1"})

    store = installation.store
    assert store.count_by_status(JobFilter()) == JobCounts(statuses)
    assert store.count_by_status(JobFilter(client="me", labels=(("a", "1"),))) == JobCounts(mine)
    assert store.count_by_blueprint(JobFilter(status="failed")) == JobCounts({"video": statuses["failed"]})
    assert store.count("failed") == statuses["failed"]
    states, is_exact = store.read_together(store.read_states(JobFilter(status="failed")))[0]
    assert (states, is_exact) == ({("0a1b2c3d", "encode"): statuses["failed"]}, True)


def test_counts_say_that_they_are_incomplete(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_PER_CALL", 40)
    fill(installation, seed=3)
    wanted = JobFilter(client="me", blueprint="video")

    counts = installation.store.count_by_status(wanted)

    assert not counts.is_exact
    assert 0 < counts.total < len(installation.ids(client="me"))


def test_counts_are_as_exact_if_one_shard_has_all_jobs(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_PER_CALL", 120)
    monkeypatch.setattr(listing, "_RECORDS_PER_CALL", 120)
    for number in range(110):
        installation.put(NAMES[2], number, client="me" if number else "you")

    store, wanted = installation.store, JobFilter(client="me", blueprint="video")
    assert store.count_by_status(wanted) == JobCounts({"failed": 109})
    states, is_exact = store.read_together(store.read_states(wanted))[0]
    assert (states, is_exact) == ({("0a1b2c3d", "encode"): 109}, True)


def test_the_work_of_a_page_does_not_grow_with_the_shards(installation: Installation) -> None:
    for keys in installation.keys.shards:
        for label in ("a", "b"):
            ids = {f"{keys.shard}-{label}{number}": number for number in range(8000)}
            installation.client.zadd(keys.by_label(label, "1"), ids)
    installation.client.config_resetstat()

    page, cursor = installation.store.list_jobs(JobFilter(labels=(("a", "1"), ("b", "1"))))

    assert page == []
    assert cursor is not None
    assert installation.client.info("commandstats")["cmdstat_zmscore"]["calls"] == 40


def publish(intake: Consumer, queue: str, count: int = 1, **fields: Any) -> None:
    intake.channel.settle([Outgoing("avt.tasks", queue, "{}", **fields) for _ in range(count)], ())


def bury(intake: Consumer, queue: str) -> None:
    publish(intake, queue)
    intake.dead_letter(wait_until(lambda: intake.take(0.05))[0], reason="max_deliveries")


def test_queues_show_the_sums_of_their_shards(installation: Installation) -> None:
    with installation.queues("encode", "convert") as intakes:
        publish(intakes[1], "encode", 3)
        taken = wait_until(lambda: intakes[1].take(0.05))
        for place, count in enumerate([1, 2, 4]):
            publish(intakes[place], "encode", count)

        [encode] = [each for each in installation.store.queues.all() if each.name == "encode"]
        assert (encode.waiting, encode.held) == (10 - len(taken), len(taken))
        assert installation.store.queues.find("encode") == replace(encode, waited_ms=ANY)
        installation.server.round_trips = 0
        installation.store.queues.all()
        assert installation.server.round_trips == 2
        assert installation.store.queues.purge("encode") == encode.waiting
        assert installation.store.queues.find("encode").waiting == 0
        assert installation.store.queues.look("encode", messages=5, letters=5)[0].held == len(taken)


def test_a_queue_is_paused_and_resumed_in_all_shards(installation: Installation) -> None:
    with installation.queues("encode") as intakes:
        paused = installation.store.queues.set_paused("encode", "ops")
        for intake in intakes:
            publish(intake, "encode")

        assert paused.paused_by == "ops"
        assert not any(intake.take(0.05) for intake in intakes for _ in range(3))

        assert installation.store.queues.set_paused("encode").paused_ms is None
        assert all(wait_until(lambda intake=intake: intake.take(0.05)) for intake in intakes)


def test_the_first_messages_of_all_shards_are_shown_by_priority_and_age(installation: Installation) -> None:
    with installation.queues("encode") as intakes:
        order = [(3, 0), (1, 0), (2, 9), (0, 0), (1, 9)]
        for place, priority in order:
            publish(intakes[place], "encode", priority=priority)
            wait_ms(installation)

        shown = installation.store.queues.peek("encode", limit=4)

    shards = [NAMES.index(each.letter.id.partition("@")[2] or "g0") for each in shown]
    assert list(zip(shards, [each.letter.priority for each in shown], strict=True)) == [(2, 9), (1, 9), (3, 0), (1, 0)]


def wait_ms(installation: Installation) -> None:
    """Wait until the server's clock has another millisecond."""
    before = installation.client.time()[1] // 1000
    wait_until(lambda: installation.client.time()[1] // 1000 != before, pause_seconds=0.001)


def test_dead_letters_of_all_shards_are_listed_requeued_and_dropped(installation: Installation) -> None:
    queues = installation.store.queues
    with installation.queues("encode", "convert@g0_1") as intakes:
        for place, queue in enumerate(["encode", "convert@g0_1", "encode", "encode"]):
            bury(intakes[place], queue)
            wait_ms(installation)

        listed = queues.dead(limit=10)
        ids = [each.letter.id for each in listed]
        shards = [job_id.rpartition(":")[2].partition("@")[2] for job_id in ids]
        assert shards == ["g0_3", "g0_2", "g0_1", ""]
        assert [each.letter.id for each in queues.dead(limit=2, queue="encode")] == ids[:2]
        assert [queues.dead_letter(each).letter for each in ids] == [each.letter for each in listed]
        assert queues.find("encode").dead == 3
        assert installation.store.overview.read().dead_letters == {"encode": 3, "convert@g0_1": 1}

        assert queues.requeue(ids[1]).letter.id == ids[1]
        assert wait_until(lambda: intakes[2].take(0.05))
        queues.drop(ids[2])
        assert [each.letter.id for each in queues.dead(limit=10)] == [ids[0], ids[3]]
        for unknown in (ids[1], ids[2], ids[3] + "@g0_1", ids[0].partition("@")[0], ids[0] + "x", "encode"):
            for ask in (queues.dead_letter, queues.requeue, queues.drop):
                with pytest.raises(NotFoundError):
                    ask(unknown)


def same_letters(installation: Installation) -> list[str]:
    """Dead letters with the same entry in each shard."""
    for keys in installation.keys.shards:
        installation.client.xadd(f"{keys.prefix}q:encode:dead", {"reason": "rejected", "at": 5}, id="5-0")
    return ["encode:5-0", *(f"encode:5-0@{name}" for name in NAMES[1:])]


def test_an_id_of_a_dead_letter_names_its_shard(installation: Installation) -> None:
    with installation.queues("encode"):
        ids = same_letters(installation)
        assert sorted(each.letter.id for each in installation.store.queues.dead(limit=10)) == sorted(ids)

        for done in range(SHARDS):
            installation.store.queues.drop(ids[done])
            left = [each.letter.id for each in installation.store.queues.dead(limit=10)]
            assert sorted(left) == sorted(ids[done + 1 :])


def test_an_overview_is_that_of_one_shard_with_the_same_jobs(installation: Installation, single: Installation) -> None:
    seen = []
    seconds, _ = installation.client.time()
    this = seconds // 60
    for each in (installation, single):
        random = Random(7)
        for number in range(100):
            status = random.choice(list(JobStatus))
            each.put(number, 1000 + number, status=status, blueprint=random.choice(["video", "photo", "text"]))
        for minute in (this - 200, this - 30, this - 29, this):
            for number in range(6):
                count_jobs(each, minute, number, number % 4, 1 + random.randrange(9))
        with each.queues("encode", "convert") as intakes:
            bury(intakes[-1], "convert")
            for number in range(7):
                publish(intakes[number % len(intakes)], "encode")
            each.store.overview.sample()
            seen.append(each.store.overview.read())

    several, one = seen
    assert (several.jobs, several.dead_letters) == (one.jobs, one.dead_letters)
    assert comparable(several) == comparable(one)
    assert {name: sum(map(bool, numbers)) for name, numbers in several.day["series"].items()}["created"] > 2
    assert (several.tasks["waiting"], several.waiting) == (7, one.waiting)
    assert list(several.task_queues) == list(one.task_queues)
    for names in (["video"], ["video", "photo", "absent"]):
        found = [each.store.overview.read_blueprints(names, one.jobs) for each in (installation, single)]
        assert found[0] == found[1]


def count_jobs(installation: Installation, minute: int, shard: int, column: int, count: int) -> None:
    """Count jobs as the scripts do."""
    keys = installation.keys.shards[shard % len(installation.keys.shards)]
    place = f"#{minute % 10 * 7 + column}"
    installation.client.execute_command("BITFIELD", f"{keys.statistics()}{minute // 10}", "INCRBY", "u32", place, count)


def comparable(seen: Overview) -> dict[str, Any]:
    """The counted figures of each minute since 1970, without those of tasks."""
    found = {}
    for points in (seen.hour, seen.day):
        for name in ("created", "finished", "failed", "cancelled"):
            for place, number in enumerate(points["series"][name]):
                at = points["starts_ms"] + 1000 * points["step_seconds"] * place
                found[points["step_seconds"], name, at] = number or 0
    return {place: number for place, number in found.items() if number}


def test_an_overview_of_several_shards_takes_two_round_trips(installation: Installation) -> None:
    with installation.queues("encode"):
        installation.store.overview.read()
        installation.server.round_trips = 0

        installation.store.overview.read()

    assert installation.server.round_trips == 2


def test_every_node_of_a_cluster_is_read_and_checked(make_server: Callable[..., OwnServer]) -> None:
    cluster = Cluster(make_server, primaries=3)
    prefixes = shard_prefixes("g0", 6)
    with ExitStack() as stack:
        server = CountingClient.connect(cluster.url, prefixes=prefixes)
        stack.callback(server.close)
        store, keys = Store(server, Router(server)), Keys(*prefixes)
        clients = {each: stack.enter_context(redis.Redis.from_url(each.url)) for each in cluster.nodes}
        for number in range(60):
            of_shard = keys.shards[number % 6]
            job_id, client = f"{of_shard.shard}-{number:05}", clients[cluster.owner_of(of_shard.prefix)]
            for index in (of_shard.by_all(), of_shard.by_status("failed")):
                client.zadd(index, {job_id: number})
        full = cluster.nodes[2]
        clients[full].config_set("maxmemory", 1)

        nodes = store.ping()

        assert {each.node for each in nodes} == {f"127.0.0.1:{each.port}" for each in cluster.nodes}
        assert [each.node for each in nodes if each.maxmemory] == [f"127.0.0.1:{full.port}"]
        [fault] = [each for each in chain(*map(check_server, nodes)) if each.state is HealthState.FAULT]
        assert (fault.subject, fault.text.partition(": ")[0]) == ("memory", f"127.0.0.1:{full.port}")
        with pytest.raises(UnavailableError, match="memory"):
            ServerInfoReader(server).refuse_when_full()
        seen = store.overview.read()
        assert (seen.jobs["failed"], [each.node for each in seen.servers]) == (60, [each.node for each in nodes])
        [(rows, cursor)] = store.read_together(store._read_list(JobFilter(limit=20)))
        assert ([int(job_id[-5:]) for job_id in rows], cursor) == (list(range(59, 39, -1)), "40.g0_4-00040")


def test_the_traffic_of_a_blueprint_and_the_facts_about_a_job_are_read_in_its_shard(installation: Installation) -> None:
    store = installation.store
    with broker.connect(in_shards(installation.url, SHARDS), prefixes=installation.server.prefixes) as connection:
        broker.declare(connection, [bp.plan])
    made = [store.create(NewJob(plan=bp.plan, client="me")).job_id for _ in range(12)]
    shards = Counter(installation.keys.of(job_id).shard for job_id in made)
    assert len(shards) > 1

    traffic = store.traffic.of(bp.plan)

    assert (traffic.count, {each.job_id for each in traffic.running}) == (12, set(made))
    assert sum(each.waiting for each in store.queues.all()) == 12
    last = {installation.keys.of(job_id).shard: job_id for job_id in made}
    for shard, job_id in last.items():
        explained = store.read_together(store.read_explained(job_id, entries=10))[0]
        assert explained is not None
        job, [entry], facts = explained
        place = facts.places[job_id]
        assert (job.id, entry.entry.event_type, place.waiting) == (job_id, "job_created", shards[shard])
        assert store.job_facts.facts(job).places == facts.places


def test_unfinished_jobs_of_all_shards_are_read(installation: Installation) -> None:
    fill(installation, seed=4)

    found = [job.id for page in installation.store.plans.unfinished_jobs() for job in page]

    assert sorted(found) == sorted(installation.ids(status="pending"))
