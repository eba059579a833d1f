"""Creating, listing, timing and forgetting jobs, on the real server."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from time import monotonic
from typing import Any

import pytest

from avtomatika import broker
from avtomatika.core.events import RetryTask
from avtomatika.core.explain.facts import TaskProgress
from avtomatika.core.job import HistoryEntry, JobStatus
from avtomatika.core.step import SetTimer
from avtomatika.errors import ConflictError, InvalidRequestError, NoRouteError, UnavailableError
from avtomatika.schemas import wire
from avtomatika.store import Commit, JobFilter, NewJob, Store, Sweeper
from avtomatika.store.entries import dump_entry
from avtomatika.transport import connect

from ..support.waiting import wait_until
from .conftest import House, bp, cause, finish, result_of


def test_a_created_job_stands_with_its_first_entry_and_its_first_message(house: House) -> None:
    job = house.create(initial_data={"path": "/a"}, labels={"team": "red"}, priority=3, result_timeout_seconds=60.0)

    [delivery] = house.take()
    history, following = house.store.history(job.id)
    assert (job.status, job.version, job.current_state) == (JobStatus.PENDING, 1, "start")
    assert (job.initial_data, job.labels, job.priority) == ({"path": "/a"}, {"team": "red"}, 3)
    assert job.result_timeout_seconds == 60.0
    assert job.id.startswith(f"{house.keys(job.id).shard}-")
    assert [(e.seq, e.version, e.entry.event_type) for e in history] == [(1, 1, "job_created")]
    assert following is None
    assert wire.load_event(delivery.body).id == f"start:{job.id}"


def test_an_idempotency_key_gives_the_same_job_again_and_one_message(house: House) -> None:
    new = NewJob(plan=bp.plan, client="me", initial_data={"a": 1}, idempotency_key="k1")

    first, second = house.store.create(new), house.store.create(new)

    assert second.job_id == first.job_id
    assert (first.existing, second.existing) == (False, True)
    assert len(house.take()) == 1
    assert house.intake.take(0.05) == []


def test_an_idempotency_key_lives_as_long_as_the_last_of_its_jobs(house: House) -> None:
    news = [NewJob(plan=bp.plan, client="me", initial_data={"n": n}, idempotency_key="k1") for n in range(3)]
    ids = [created.job_id for created in house.store.create_many(news)]
    [key] = house.client.keys("*:idempotency:*")
    assert house.client.ttl(key) == -1

    for job_id in (ids[1], ids[2], ids[0]):
        assert house.client.exists(key)
        assert [each.job_id for each in house.store.create_many(news)] == ids
        house.client.zadd(house.keys(job_id).retention(), {job_id: 1})
        assert house.sweeper.expire_jobs().done == 1

    assert not house.client.exists(key)
    assert house.store.create_many(news)[0].job_id not in ids


def test_an_idempotency_key_with_another_body_is_a_conflict_and_another_client_has_keys_of_its_own(
    house: House,
) -> None:
    new = NewJob(plan=bp.plan, client="me", initial_data={"a": 1}, idempotency_key="k1")
    first = house.store.create(new)

    with pytest.raises(ConflictError, match=f"'k1' was used with another body, for job {first.job_id}"):
        house.store.create(replace(new, initial_data={"a": 2}))
    assert house.store.create(replace(new, client="you")).job_id != first.job_id


def test_a_plan_that_was_never_declared_leaves_nothing_behind(redis_url: str) -> None:
    with closing(Store.connect(redis_url)) as store, connect(redis_url) as client:
        with pytest.raises(NoRouteError, match=r"avt\.steps"):
            store.create(NewJob(plan=bp.plan, client="me"))

        assert list(client.scan_iter("*:job*")) == []


def test_new_jobs_are_refused_when_the_server_is_nearly_full(house: House) -> None:
    limit = int(house.client.info("memory")["used_memory"] * 1.1)
    house.client.config_set("maxmemory", limit)
    try:
        with pytest.raises(UnavailableError, match="% full"):
            house.create()
    finally:
        house.client.config_set("maxmemory", 0)
    assert list(house.client.scan_iter("*:job*")) == []


def test_an_absent_server_is_unavailable(make_server: Any) -> None:
    server = make_server()
    with broker.connect(server.url) as connection, closing(Store.connect(server.url)) as store:
        broker.declare(connection, [bp.plan])
        server.kill()

        with pytest.raises(UnavailableError):
            store.create(NewJob(plan=bp.plan, client="me"))
        with pytest.raises(UnavailableError):
            store.load("g0-x")


# ------------------------------------------------------------ lists


def test_lists_are_newest_first_and_pages_follow_without_gap(house: House) -> None:
    ids = [house.create(labels={"n": str(n % 2)}).id for n in range(23)]

    pages, cursor = [], None
    for _ in range(5):
        jobs, cursor = house.store.list_jobs(JobFilter(limit=5, cursor=cursor))
        pages.append([job.id for job in jobs])

    assert sorted(job_id for page in pages for job_id in page) == sorted(ids)
    assert [len(page) for page in pages] == [5, 5, 5, 5, 3]
    created = [house.job(job_id).created_ms for page in pages for job_id in page]
    assert created == sorted(created, reverse=True)
    assert cursor is None


def test_lists_filter_by_client_status_blueprint_and_label(house: House) -> None:
    mine = house.create(labels={"team": "red"})
    house.store.create(NewJob(plan=bp.plan, client="you", labels={"team": "blue"}))

    def ids(**wanted: Any) -> list[str]:
        return [job.id for job in house.store.list_jobs(JobFilter(**wanted))[0]]

    assert ids(client="me") == [mine.id]
    assert ids(labels=(("team", "red"),)) == [mine.id]
    assert len(ids(status="pending", blueprint="video")) == 2
    assert ids(status="finished") == []
    assert ids(client="me", labels=(("team", "blue"),)) == []


def test_a_cursor_that_no_list_gave_is_refused(house: House) -> None:
    with pytest.raises(InvalidRequestError, match="'nonsense'"):
        house.store.list_jobs(JobFilter(cursor="nonsense"))


# ------------------------------------------------------------ timers


def test_a_timer_is_sent_when_it_is_due_and_once_only(house: House) -> None:
    job, delivery, step = house.started()
    event = RetryTask(job.id, f"{job.id}.1.0", 2)
    timer = SetTimer("retry", 0.02, bp.plan.key("start", "_retry"), event)
    house.settle(Commit(job, step._replace(timers=(timer,)), (cause(delivery),)))

    another = Sweeper(house.intake.channel.server, house.intake.channel.router)
    deadline, sent = monotonic() + 5, 0
    while not sent and monotonic() < deadline:
        sent += house.sweeper.send_due_timers().done + another.send_due_timers().done
    assert sent == 1
    assert house.sweeper.send_due_timers().done == 0

    with house.connection.channel() as channel:
        message = channel.basic_get("avt.timers")
    due = wire.load_due_timer(message.body)
    assert (due.exchange, due.routing_key) == ("avt.steps", bp.plan.key("start", "_retry"))
    assert wire.load_event(due.body) == event


def test_a_cancelled_timer_is_gone(house: House) -> None:
    job, delivery, step = house.started()
    timer = SetTimer("t", 3600, bp.plan.key("start", "_retry"), RetryTask(job.id, "x", 2))
    house.settle(Commit(job, step._replace(timers=(timer,)), (cause(delivery),)))
    waiting = house.job(job.id)
    result = result_of(waiting)
    answer = house.send(result)

    end = finish(waiting, result, answer)._replace(cancelled_timers=("t",))
    house.settle(Commit(waiting, end, (cause(answer),)))

    assert not house.client.keys("*:timers*")


# ------------------------------------------------------------ taken


def publish_taken(house: House, taken: wire.TaskStarted) -> str:
    notice = replace(broker.notice(taken), shard=house.keys(taken.job_id).prefix)
    house.intake.settle_many([([notice], ())])
    intake = broker.Consumer(house.connection, ["avt.workers"], prefetch=10)
    [delivery] = wait_until(lambda: intake.take(0.05))
    house.store = Store(intake.channel.server, intake.channel.router)
    return delivery.tag


def test_taken_tells_who_has_the_task_without_a_new_version(house: House) -> None:
    job = house.waiting()
    [task] = job.tasks.values()
    taken = wire.TaskStarted(job.id, task.id, 1, "w1", "start")

    tag = publish_taken(house, taken)
    house.store.record_taken([(tag, taken)])

    history, _ = house.store.history(job.id)
    assert house.store.live_state(job).in_flight == {task.id: TaskProgress("w1")}
    assert history[-1].entry == HistoryEntry("task_taken", "start", task.id, 1, "w1")
    assert history[-1].version == house.job(job.id).version == job.version
    assert history[-1].seq == len(history)


def test_taken_of_another_attempt_is_dropped(house: House) -> None:
    job = house.waiting()
    [task] = job.tasks.values()
    taken = wire.TaskStarted(job.id, task.id, 4, "w1", "start")

    tag = publish_taken(house, taken)
    house.store.record_taken([(tag, taken)])

    assert house.store.live_state(job).in_flight == {}
    assert house.store.history(job.id)[0][-1].entry.event_type == "task_dispatched"


# ------------------------------------------------------------ progress


def test_progress_is_kept_beside_the_open_task_without_a_new_version(house: House) -> None:
    job = house.waiting()
    [task] = job.tasks.values()

    house.store.record_progress([wire.Progress(job.id, task.id, 1, "w1", 0.4, "two of five")])

    [hand] = house.store.live_state(job).in_flight.values()
    assert (hand.progress, hand.message) == (0.4, "two of five")
    assert house.job(job.id).version == job.version


def test_progress_of_another_attempt_or_task_changes_nothing(house: House) -> None:
    job = house.waiting()
    [task] = job.tasks.values()

    house.store.record_progress(
        [wire.Progress(job.id, task.id, 4, "w1", 0.4), wire.Progress(job.id, "another", 1, "w1", 0.5)]
    )

    assert house.store.live_state(job).in_flight == {}


# ------------------------------------------------------------ retention


def test_a_job_that_is_over_goes_with_everything_of_it_and_a_running_one_stays(house: House) -> None:
    house.store = Store(house.intake.channel.server, house.intake.channel.router, job_ttl_seconds=0)
    job = house.waiting()
    result = result_of(job)
    delivery = house.send(result)
    house.settle(Commit(job, finish(job, result, delivery), (cause(delivery),)))
    running = house.create(labels={"a": "b"})

    deadline, gone = monotonic() + 5, 0
    while not gone and monotonic() < deadline:
        gone += house.sweeper.expire_jobs().done

    assert gone == 1
    assert house.store.load(job.id) is None
    assert list(house.client.scan_iter(f"*{job.id}*")) == []
    assert [found.id for found in house.store.list_jobs(JobFilter())[0]] == [running.id]
    assert not house.client.keys("*:jobs:status:finished")


def test_a_page_of_history_is_limited_by_bytes_and_has_at_least_one_entry(house: House) -> None:
    job = house.create()
    sizes = [3_000_000, 1_500_000, 9_000_000, 10, 10]
    for number, size in enumerate(sizes, start=2):
        entry = HistoryEntry("note", data={"number": number, "text": "x" * size})
        house.client.rpush(house.keys(job.id).history(job.id), b"1 1000 " + dump_entry(entry))

    pages, after = [], 0
    while after is not None:
        page, after = house.store.history(job.id, after=after)
        pages.append([each.seq for each in page])

    assert pages == [[1, 2], [3], [4], [5, 6]]
    assert house.store.history(job.id, after=2**63 - 1) == ([], None)
    assert [house.store.history(job.id, after=after, limit=2)[1] for after in (0, 4)] == [2, None]
