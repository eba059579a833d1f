"""Walks over lists of jobs while the lists change, on the real server."""

from __future__ import annotations

from typing import Any

import pytest

from avtomatika.errors import InvalidRequestError
from avtomatika.store import JobFilter, NewJob
from avtomatika.store import job_list as listing

from .conftest import House, bp


def walk(house: House, between: Any = None, *, limit: int = 7, **wanted: Any) -> list[str]:
    """The ids on all pages; *between* is called with each page."""
    ids: list[str] = []
    cursor = None
    while True:
        jobs, cursor = house.store.list_jobs(JobFilter(limit=limit, cursor=cursor, **wanted))
        ids += [job.id for job in jobs]
        if between is not None:
            between(jobs)
        if cursor is None:
            return ids


def batch(house: House, count: int, **fields: Any) -> list[str]:
    """Jobs that are all created in one millisecond."""
    created = house.store.create_many([NewJob(plan=bp.plan, client="me", **fields) for _ in range(count)])
    assert len({house.job(each.job_id).created_ms for each in created}) == 1
    return [each.job_id for each in created]


@pytest.mark.parametrize("place", [0, 3, -1])
def test_jobs_that_leave_the_list_hide_no_other(house: House, place: int) -> None:
    ids = batch(house, 100)

    def one_leaves(jobs: Any) -> None:
        if jobs:
            house.client.zrem("avt:jobs:status:pending", jobs[place].id if len(jobs) > 3 else jobs[-1].id)

    found = walk(house, one_leaves, status="pending")

    assert sorted(found) == sorted(ids)


def test_all_jobs_of_a_page_may_leave_the_list(house: House) -> None:
    ids = batch(house, 50)

    found = walk(
        house, lambda jobs: [house.client.zrem("avt:jobs:status:pending", job.id) for job in jobs], status="pending"
    )

    assert sorted(found) == sorted(ids)


def test_jobs_that_are_created_meanwhile_repeat_no_other(house: House) -> None:
    ids = batch(house, 40)

    found = walk(house, lambda jobs: [house.create() for _ in range(9)])

    assert len(found) == len(set(found))
    assert set(ids) <= set(found)


def test_ids_are_compared_as_the_server_orders_them(house: House) -> None:
    ids = ["a-B", "a-b", "a_b", "aB", "ab", "B", "b-1", "b-1-1", "b-10", "b-2", "_", "-"]
    house.client.zadd("avt:jobs", dict.fromkeys(ids, 5))
    server_order = [row.decode() for row in house.client.zrange("avt:jobs", 0, -1, desc=True)]

    for place, job_id in enumerate(server_order):
        house.client.zrem("avt:jobs", job_id)
        found, _ = listing.list_ids(house.intake.channel.server, house.store._keys, JobFilter(cursor=f"5.{job_id}"))
        house.client.zadd("avt:jobs", {job_id: 5})
        assert found == server_order[place + 1 :]


def test_filters_that_hardly_meet_make_short_pages_and_lose_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_PER_CALL", 3)
    monkeypatch.setattr(listing, "_CALLS", 2)
    both = []
    for _ in range(4):
        batch(house, 10, labels={"a": "1"})
        both += batch(house, 1, labels={"a": "1", "b": "1"})
        batch(house, 10, labels={"b": "1"})

    assert sorted(walk(house, labels=(("a", "1"), ("b", "1")))) == sorted(both)
    page, cursor = house.store.list_jobs(JobFilter(labels=(("a", "1"), ("b", "1")), limit=3))
    assert len(page) < 3
    assert cursor is not None


def test_a_page_of_two_filters_looks_at_a_limited_number_of_jobs(house: House) -> None:
    house.client.zadd("avt:jobs:label:a=1", {f"g0-a{n}": n for n in range(30_000)})
    house.client.zadd("avt:jobs:label:b=1", {f"g0-b{n}": n for n in range(30_000)})
    before = house.client.info("commandstats")

    page, cursor = house.store.list_jobs(JobFilter(labels=(("a", "1"), ("b", "1"))))

    after = house.client.info("commandstats")
    calls = {name: after[name]["calls"] - before.get(name, {"calls": 0})["calls"] for name in after}
    assert page == []
    assert cursor is not None
    assert calls["cmdstat_zmscore"] == 40


@pytest.mark.parametrize(
    "cursor",
    ["", "nonsense", "5.", ".g0-1", "-5.g0-1", "5.g0 1", "9" * 16 + ".g0-1", "9" * 5000 + ".x", "٣.g0-1", "1e9.x"],
)
def test_a_cursor_that_no_list_gave_is_refused(house: House, cursor: str) -> None:
    with pytest.raises(InvalidRequestError, match="cursor"):
        house.store.list_jobs(JobFilter(cursor=cursor))
