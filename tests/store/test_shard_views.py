"""What lists, counts and figures show of an installation with several shards, on one server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
import redis
from orjson import dumps

from avtomatika.core.shards import shard_names, shard_prefixes
from avtomatika.store import JobCounts, JobFilter, Store, job_list as listing
from avtomatika.store.keys import Keys
from avtomatika.transport import Router

from .conftest import CountingClient

SHARDS = 4
NAMES = shard_names("g0", SHARDS)


@dataclass
class Installation:
    """The store of an installation with several shards, and the jobs in it."""

    client: redis.Redis
    server: CountingClient
    keys: Keys
    store: Store
    #: Creation, id and other fields of each job.
    jobs: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)

    def put(self, shard: str, created: int, **fields: Any) -> str:
        """Write a job as the scripts do, at a time of its own."""
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


@pytest.fixture
def installation(redis_url: str) -> Iterator[Installation]:
    prefixes = shard_prefixes("g0", SHARDS)
    server = CountingClient.connect(redis_url, prefixes=prefixes)
    with redis.Redis.from_url(redis_url) as client:
        yield Installation(client, server, Keys(*prefixes), Store(server, Router(server)))
    server.close()


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
