"""Large values of jobs on the real server: a step writes new values, and reads values that are not cached."""

from __future__ import annotations

from typing import Any

import pytest

from avtomatika.core.blueprint.action_types import DispatchTask
from avtomatika.core.job import Job
from avtomatika.core.machine import decisions, machine
from avtomatika.errors import InvalidRequestError, UnreadableRecordError
from avtomatika.store import Commit, CommitStatus, JobFilter, NewJob, Store, UnreadableJob
from avtomatika.store.large_values import ValueCache
from avtomatika.store.records import dump_doc

from .conftest import House, bp, cause, dispatch, result_of

BIG = "y" * 300_000


def grow(house: House, job: Job, data: Any) -> Job:
    """The job after a result with *data*, at its next task."""
    event = result_of(job, data=data)
    delivery = house.send(event)
    step = machine.advance(bp.plan, job, event, queue=delivery.queue)
    again = DispatchTask("encode", {}, transitions={"success": "publish", "failure": "failed"})
    step = step.then(decisions.decide(bp.plan, step.job, again, queue=delivery.queue, patch={}))
    assert house.settle(Commit(job, step, (cause(delivery),))).answer is CommitStatus.OK
    return house.job(job.id)


def fields(house: House, job_id: str) -> dict[str, int]:
    """The sizes of the large values that are stored of a job."""
    stored = house.client.hgetall(house.keys(job_id).job(job_id))
    return {name.decode(): len(value) for name, value in stored.items() if name.startswith(b"data:")}


def test_a_job_is_read_as_it_was_written(house: House) -> None:
    data = {"text": BIG, "list": [{"n": n} for n in range(5000)], "small": 1, "wide": "é" * 9000, "none": None}

    job = grow(house, house.waiting(), data)

    assert job.state_history == data
    assert list(job.state_history) == list(data)
    assert job.result == data
    assert len(fields(house, job.id)) == 3
    assert house.client.hstrlen(house.keys(job.id).job(job.id), "doc") < 2000


def test_a_result_that_is_no_object_is_kept(house: House) -> None:
    job = grow(house, house.waiting(), [BIG, 1])

    assert job.result == [BIG, 1]
    assert job.state_history == {"result": [BIG, 1]}
    assert len(fields(house, job.id)) == 1


def test_a_step_writes_what_is_new_and_drops_what_is_replaced(house: House) -> None:
    job = grow(house, house.waiting(), {"a": BIG, "b": BIG + "b"})
    before = fields(house, job.id)
    sent = int(house.client.info("stats")["total_net_input_bytes"])

    job = grow(house, job, {"c": 1})

    assert int(house.client.info("stats")["total_net_input_bytes"]) - sent < 30_000
    assert fields(house, job.id) == before
    assert job.state_history == {"a": BIG, "b": BIG + "b", "c": 1}

    job = grow(house, job, {"a": "short"})
    assert len(fields(house, job.id)) == 1
    assert job.state_history == {"a": "short", "b": BIG + "b", "c": 1}


def test_small_jobs_are_stored_whole(house: House) -> None:
    job = grow(house, house.waiting(), {"a": "x" * 4000, "b": [1, 2, 3]})

    assert fields(house, job.id) == {}
    assert job.large == {}


def test_initial_data_are_written_once(house: House) -> None:
    data = {"text": BIG, "n": 1}
    job = house.create(initial_data=data)
    assert job.initial_data == data
    [delivery] = house.take()
    assert house.settle(Commit(job, dispatch(job, delivery), (cause(delivery),))).answer is CommitStatus.OK

    job = grow(house, house.job(job.id), {"same": job.initial_data["text"], "other": BIG + "o"})

    assert job.initial_data == data
    assert set(fields(house, job.id)) == {"data:0.1", "data:3.1", "data:3.2"}
    job = grow(house, job, {"same": 1, "other": 2})
    assert set(fields(house, job.id)) == {"data:0.1"}
    assert job.initial_data == data


def test_lists_read_no_large_values(house: House) -> None:
    grow(house, house.waiting(), {"a": BIG})
    sent = int(house.client.info("stats")["total_net_output_bytes"])

    [job], _ = house.store.list_jobs(JobFilter())

    assert int(house.client.info("stats")["total_net_output_bytes"]) - sent < 30_000
    assert job.current_state == "publish"
    [whole], _ = house.store.list_jobs(JobFilter(), with_data=True)
    assert whole.state_history == {"a": BIG}


def test_a_process_reads_a_value_once(house: House) -> None:
    job = grow(house, house.waiting(), {"a": BIG})
    server, router = house.intake.channel.server, house.intake.channel.router
    store = Store(server, router, cache_bytes=1_000_000)
    store.load(job.id)
    sent = int(house.client.info("stats")["total_net_output_bytes"])

    again = store.load(job.id)

    assert again == job
    assert int(house.client.info("stats")["total_net_output_bytes"]) - sent < 30_000


def test_a_job_whose_large_value_is_gone_is_its_own_affair(house: House) -> None:
    job = grow(house, house.waiting(), {"a": BIG})
    good = house.create()
    house.client.hdel(house.keys(job.id).job(job.id), *fields(house, job.id))

    loaded = house.store.load_many([job.id, good.id])

    assert isinstance(loaded[0], UnreadableJob)
    assert loaded[1] == good
    with pytest.raises(UnreadableRecordError, match="large value"):
        house.store.load(job.id)
    assert len(house.store.list_jobs(JobFilter())[0]) == 2


def test_a_step_after_which_a_job_is_too_large_is_refused(house: House) -> None:
    job = house.waiting()
    server, router = house.intake.channel.server, house.intake.channel.router
    store = Store(server, router, max_job_bytes=200_000)
    event = result_of(job, data={"a": BIG})
    delivery = house.send(event)
    step = machine.advance(bp.plan, job, event, queue=delivery.queue)

    [reply] = store.commit([Commit(job, step, (cause(delivery),))])

    assert reply.answer is CommitStatus.TOO_LARGE
    assert "state 'publish'" in reply.reason
    assert "MAX_JOB_BYTES=200000" in reply.reason
    assert house.job(job.id) == job


def test_initial_data_that_are_too_large_are_refused(house: House) -> None:
    server, router = house.intake.channel.server, house.intake.channel.router
    store = Store(server, router, max_job_bytes=200_000)

    with pytest.raises(InvalidRequestError, match="MAX_JOB_BYTES=200000"):
        store.create(NewJob(plan=bp.plan, client="me", initial_data={"a": BIG}))


def test_a_cache_forgets_what_was_not_used_for_longest() -> None:
    cache = ValueCache(100)
    cache.add("j", {"a": ("A", 40), "b": ("B", 40)})
    cache.get("j", "a")
    cache.add("j", {"c": ("C", 40), "d": ("D", 101)})

    assert [cache.get("j", name) for name in "abcd"] == [("A", 40), None, ("C", 40), None]


def test_a_job_that_was_read_without_its_values_is_not_committed(house: House) -> None:
    grow(house, house.waiting(), {"a": BIG})
    [job], _ = house.store.list_jobs(JobFilter())

    with pytest.raises(ValueError, match="without its large values"):
        dump_doc(job)
