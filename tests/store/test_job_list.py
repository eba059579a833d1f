"""Walks over lists of jobs while the lists change, on the real server."""

from __future__ import annotations

from typing import Any

import pytest
from orjson import dumps

from avtomatika.errors import InvalidRequestError
from avtomatika.store import JobCounts, JobFilter, NewJob, job_list as listing

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
            house.client.zrem("{avt.g0}:jobs:status:pending", jobs[place].id if len(jobs) > 3 else jobs[-1].id)

    found = walk(house, one_leaves, status="pending")

    assert sorted(found) == sorted(ids)


def test_all_jobs_of_a_page_may_leave_the_list(house: House) -> None:
    ids = batch(house, 50)

    found = walk(
        house,
        lambda jobs: [house.client.zrem("{avt.g0}:jobs:status:pending", job.id) for job in jobs],
        status="pending",
    )

    assert sorted(found) == sorted(ids)


def test_jobs_that_are_created_meanwhile_repeat_no_other(house: House) -> None:
    ids = batch(house, 40)

    found = walk(house, lambda jobs: [house.create() for _ in range(9)])

    assert len(found) == len(set(found))
    assert set(ids) <= set(found)


def test_ids_are_compared_as_the_server_orders_them(house: House) -> None:
    ids = ["a-B", "a-b", "a_b", "aB", "ab", "B", "b-1", "b-1-1", "b-10", "b-2", "_", "-"]
    house.client.zadd("{avt.g0}:jobs", dict.fromkeys(ids, 5))
    server_order = [row.decode() for row in house.client.zrange("{avt.g0}:jobs", 0, -1, desc=True)]

    for oldest_first, order in ((False, server_order), (True, server_order[::-1])):
        for place, job_id in enumerate(order):
            house.client.zrem("{avt.g0}:jobs", job_id)
            wanted = JobFilter(cursor=f"5.{job_id}", oldest_first=oldest_first)
            [(found, _)] = house.store.read_together(house.store._read_list(wanted))
            house.client.zadd("{avt.g0}:jobs", {job_id: 5})
            assert list(found) == order[place + 1 :]


def test_the_oldest_jobs_are_listed_first_on_request(house: House) -> None:
    ids = [job_id for n in range(6) for job_id in batch(house, 7, labels={"n": str(n % 2)})]
    newest = walk(house)
    times = {job_id: int(house.client.zscore("{avt.g0}:jobs", job_id)) for job_id in ids}
    lower, upper = times[newest[-9]], times[newest[8]]
    within = [job_id for job_id in newest[::-1] if lower <= times[job_id] < upper]

    assert walk(house, oldest_first=True) == newest[::-1]
    assert walk(house, oldest_first=True, labels=(("n", "1"),)) == walk(house, labels=(("n", "1"),))[::-1]
    assert walk(house, oldest_first=True, created_after_ms=lower, created_before_ms=upper) == within
    assert walk(house, created_after_ms=lower, created_before_ms=upper) == within[::-1]


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
    house.client.zadd("{avt.g0}:jobs:label:a=1", {f"g0-a{n}": n for n in range(30_000)})
    house.client.zadd("{avt.g0}:jobs:label:b=1", {f"g0-b{n}": n for n in range(30_000)})
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


def put(house: House, number: int, created: int, status: str, **doc: Any) -> None:
    """Write a job as the scripts do, at a time of its own."""
    job_id = f"g0-{number:05}"
    record = {"plan8": "0a1b2c3d", "state": "encode", "state_history": {}, "steps": 0, "transitions": 0, **doc}
    init = {"blueprint": "video" if number % 2 else "photo", "client": "me"}
    fields = {"v": 1, "status": status, "created": created, "updated": created}
    house.client.hset(f"{{avt.g0}}:job:{job_id}", mapping={**fields, "doc": dumps(record), "init": dumps(init)})
    for index in ("", f":status:{status}", ":client:me", f":blueprint:{init['blueprint']}"):
        house.client.zadd(f"{{avt.g0}}:jobs{index}", {job_id: created})


def test_several_statuses_are_one_list_in_order(house: House) -> None:
    for number in range(60):
        put(house, number, 1000 + number // 7, ["failed", "error", "finished"][number % 3])

    expected = [f"g0-{number:05}" for number in reversed(range(60)) if number % 3 < 2]
    assert walk(house, status=("failed", "error")) == expected
    assert walk(house, status=("failed", "error"), client="me") == expected
    assert walk(house, status=("failed", "failed")) == walk(house, status="failed")
    assert walk(house, status=("failed", "error"), blueprint="photo") == [
        each for each in expected if int(each[3:]) % 2 == 0
    ]


def test_a_time_window_includes_its_start_and_excludes_its_end(house: House) -> None:
    for number in range(40):
        put(house, number, 1000 + number, "failed" if number % 2 else "finished")

    window = {"created_after_ms": 1010, "created_before_ms": 1020}
    assert walk(house, **window) == [f"g0-{number:05}" for number in reversed(range(10, 20))]
    assert walk(house, status="failed", **window) == [f"g0-{number:05}" for number in (19, 17, 15, 13, 11)]
    assert walk(house, limit=3, status=("failed", "finished"), **window) == walk(house, **window)
    assert house.store.count_by_status(JobFilter(**window)) == JobCounts({"failed": 5, "finished": 5})
    assert walk(house, created_after_ms=1020, created_before_ms=1010) == []


def test_text_is_found_in_the_code_and_message_of_the_error_only(house: House) -> None:
    put(house, 1, 1, "failed", error={"code": "DISK_FULL", "message": 'no space on "/dev/sda" \u00c4\n'})
    put(house, 2, 2, "failed", error={"code": "X", "message": "x", "traceback": "disk_full"}, result="disk_full")
    put(house, 3, 3, "failed", state_history={"error": {"code": "disk_full"}})
    put(house, 4, 4, "failed", error=None, result={"state": '"state":"publish"'})

    for text in ("disk_full", "DISK", 'SPACE on "/', "\u00c4", "\n"):
        assert walk(house, text=text) == ["g0-00001"], text
        assert house.store.count_by_status(JobFilter(text=text)).total == 1
    assert walk(house, text="[", state="encode") == []
    assert walk(house, state="publish") == []
    assert len(walk(house, state="encode")) == 4


def test_counts_are_exact_if_one_status_has_too_many_jobs(house: House) -> None:
    house.client.zadd("{avt.g0}:jobs:status:finished", {f"g0-{n}": n for n in range(9000)})
    house.client.zadd("{avt.g0}:jobs:status:failed", {f"g0-f{n}": n for n in range(1500)})
    house.client.zadd("{avt.g0}:jobs:blueprint:video", {f"g0-{n}": n for n in range(9000)} | {"g0-f1": 1, "g0-f2": 2})
    house.client.zadd("{avt.g0}:jobs:label:a=1", {f"g0-{n}": n for n in range(9000)})

    assert house.store.count_by_status(JobFilter()).counts == {"finished": 9000, "failed": 1500}
    assert house.store.count_by_status(JobFilter(status="finished")).counts == {"finished": 9000}
    assert house.store.count_by_status(JobFilter(blueprint="video")) == JobCounts({"finished": 9000, "failed": 2})
    both = house.store.count_by_status(JobFilter(blueprint="video", labels=(("a", "1"),)))
    assert (both.counts["finished"], both.is_exact) == (2000, False)


def test_jobs_are_counted_by_blueprint(house: House) -> None:
    for number in range(700):
        put(house, number, number, "failed" if number % 7 else "finished")

    assert house.store.count_by_blueprint(JobFilter(status="failed")) == JobCounts({"video": 300, "photo": 300})
    assert house.store.count_by_blueprint(JobFilter(created_after_ms=690)).counts == {"video": 5, "photo": 5}


@pytest.mark.parametrize(
    "wanted",
    [
        {"status": "failed"},
        {"status": ("failed", "error"), "blueprint": "video"},
        {"labels": (("a", "1"),), "client": "me"},
        {"created_after_ms": 100, "created_before_ms": 130},
        {"status": "failed", "text": "full"},
    ],
)
def test_the_work_of_a_page_and_of_counts_does_not_grow_with_the_jobs(house: House, wanted: dict[str, Any]) -> None:
    def work() -> list[int]:
        numbers = []
        for ask in (house.store.list_jobs, house.store.count_by_status, house.store.count_by_blueprint):
            before = house.client.info("commandstats")
            ask(JobFilter(**wanted))
            after = house.client.info("commandstats")
            calls = {name: after[name]["calls"] - before.get(name, {"calls": 0})["calls"] for name in after}
            numbers.append(sum(calls.values()))
        return numbers

    for number in range(60):
        put(house, number, number, "failed", error={"code": "FULL"})
    pipe = house.client.pipeline()
    indexes = ("", ":status:failed", ":blueprint:video", ":client:me", ":label:a=1")

    def grow(first: int, last: int) -> None:
        for index in indexes:
            pipe.zadd(f"{{avt.g0}}:jobs{index}", {f"g0-{n}": n for n in range(first, last)})
        pipe.zadd("{avt.g0}:jobs:status:error", {f"g0-e{n}": n for n in range(first, last)})
        pipe.execute()

    grow(100, 8_000)
    small = work()
    grow(8_000, 28_000)

    assert all(large <= few * 1.1 + 20 for few, large in zip(small, work(), strict=True)), small
