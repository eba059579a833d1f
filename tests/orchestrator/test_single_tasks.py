"""Tasks without a blueprint, and jobs that start later, on a real server."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis

from avtomatika import Blueprint, broker
from avtomatika.core.blueprint.single_tasks import SINGLE_TASKS
from avtomatika.core.explain.why import explain
from avtomatika.core.graph.dot import dot
from avtomatika.core.job import Job
from avtomatika.errors import ConflictError
from avtomatika.schemas import wire
from avtomatika.store import NewJob

from ..support.orchestrators import Stage

PERMANENT = {"code": "PERMANENT_ERROR", "message": "it is on fire"}
TRANSIENT = {"code": "TRANSIENT_ERROR", "message": "the scales are in use"}
INVALID = {"code": "INVALID_INPUT_ERROR", "message": "params.path: missing"}

hello = Blueprint(name="hello")


@hello.handler(is_start=True, is_end=True)
def greet() -> str:
    return "hello"


@pytest.fixture
def house(stage: Callable[..., Stage]) -> Stage:
    made = stage(SINGLE_TASKS, hello)
    made.orchestrator()
    broker.declare_tasks(made.connection, ["encode", "decode"])
    return made


def task_of(params: dict[str, Any] | None = None, **options: Any) -> NewJob:
    return NewJob(plan=SINGLE_TASKS.plan, client="me", skill="encode", initial_data=params or {}, **options)


def send(house: Stage, params: dict[str, Any] | None = None, **options: Any) -> str:
    return house.store.create(task_of(params, **options)).job_id


def make_due(house: Stage) -> int:
    """Make the only timer due; return the time for which it was set, in milliseconds."""
    with redis.Redis.from_url(house.url) as server:
        [(name, due)] = server.zrange("{avt.g0}:timers", 0, -1, withscores=True)
        server.zadd("{avt.g0}:timers", {name: 0})
    return round(due)


def timers(house: Stage) -> int:
    with redis.Redis.from_url(house.url) as server:
        return server.zcard("{avt.g0}:timers") + server.hlen("{avt.g0}:timers:messages")


# ---------------------------------------------------------------- results


def test_the_task_is_in_the_queue_of_its_skill_when_the_job_exists(stage: Callable[..., Stage]) -> None:
    house = stage(SINGLE_TASKS)  # no orchestrator runs
    broker.declare_tasks(house.connection, ["encode"])

    job_id = send(house, {"path": "a.mov"})
    _, task = house.take_task("encode")

    assert (task.job_id, task.params, task.attempt) == (job_id, {"path": "a.mov"}, 1)
    assert (house.job(job_id).status, house.job(job_id).skill) == ("waiting_for_worker", "encode")
    assert house.history(job_id) == ["job_created run", "task_dispatched run"]


@pytest.mark.parametrize("outcome", ["success", "sold_out"])
@pytest.mark.parametrize("data", [{"frames": 3}, [1, 2], None])
def test_the_result_of_the_task_is_the_result_of_the_job_whatever_its_outcome(
    house: Stage, outcome: str, data: Any
) -> None:
    job_id = send(house)

    house.answer(house.take_task("encode"), status=outcome, data=data)
    ended = house.turn_until_status(job_id, "finished")

    assert (ended.result, ended.error, ended.tasks) == (data, None, {})
    assert house.history(job_id)[-2:] == ["task_succeeded run", "job_finished run"]


def test_a_second_result_of_the_same_task_changes_nothing(house: Stage) -> None:
    job_id = send(house)
    taken = house.take_task("encode")
    house.answer(taken, data={"frames": 3})
    house.turn_until_status(job_id, "finished")

    house.publish_result(taken, data={"frames": 4})
    house.turn_until(lambda: house.store.notes(job_id))

    assert house.job(job_id).result == {"frames": 3}


def test_higher_priorities_are_taken_first(house: Stage) -> None:
    ids = {priority: send(house, priority=priority) for priority in (1, 9, 5)}

    assert [house.take_task("encode")[1].job_id for _ in ids] == [ids[9], ids[5], ids[1]]


def test_many_tasks_are_created_by_one_call_and_an_idempotency_key_creates_them_once(house: Stage) -> None:
    news = [task_of({"place": place}, idempotency_key="order-7") for place in range(50)]

    first = [each.job_id for each in house.store.create_many(news)]
    again = [(each.job_id, each.existing) for each in house.store.create_many(news)]

    assert again == [(job_id, True) for job_id in first]
    assert [house.take_task("encode")[1].params["place"] for _ in news] == list(range(50))
    with pytest.raises(ConflictError):
        house.store.create_many([replace(news[0], skill="decode"), *news[1:]])


# ---------------------------------------------------------------- failures


def test_a_transient_failure_is_retried_after_a_delay(house: Stage) -> None:
    job_id = send(house, max_retries=1)
    house.answer(house.take_task("encode"), status="failure", error=TRANSIENT)
    house.turn_until(lambda: house.history(job_id)[-1] == "task_retried run")

    make_due(house)
    house.turn_until(lambda: house.history(job_id)[-1] == "task_dispatched run")
    second = house.take_task("encode")
    house.answer(second, data={"frames": 3})

    assert second[1].attempt == 2
    assert house.turn_until_status(job_id, "finished").result == {"frames": 3}


@pytest.mark.parametrize(
    ("error", "options"), [(PERMANENT, {}), (TRANSIENT, {"max_retries": 0})], ids=["permanent", "without retries"]
)
def test_a_final_failure_fails_the_job(house: Stage, error: dict[str, Any], options: dict[str, Any]) -> None:
    job_id = send(house, {"path": "a.mov"}, **options)
    house.answer(house.take_task("encode"), status="failure", error=error)
    failed = house.turn_until_status(job_id, "failed")

    assert failed.error is not None
    assert (failed.error["code"], failed.error["message"]) == (error["code"], error["message"])


def test_invalid_params_fail_the_job_and_it_can_be_run_again_as_a_new_one(house: Stage) -> None:
    job_id = send(house, {"pth": "a.mov"}, labels={"shop": "north"})
    house.answer(house.take_task("encode"), status="failure", error=INVALID)
    failed = house.turn_until_status(job_id, "failed")

    again = NewJob(plan=SINGLE_TASKS.plan, client="me", **{**failed.request_fields(), "retry_of": job_id})
    rerun_id = house.store.create(again).job_id
    house.answer(house.take_task("encode"))
    rerun = house.turn_until_status(rerun_id, "finished")

    assert failed.error is not None
    assert failed.error["message"] == INVALID["message"]
    assert (rerun.retry_of, rerun.skill, rerun.initial_data, rerun.labels) == (
        job_id,
        "encode",
        {"pth": "a.mov"},
        {"shop": "north"},
    )


# ---------------------------------------------------------------- limits of time


def test_a_task_that_no_worker_takes_in_time_fails(house: Stage) -> None:
    job_id = send(house, dispatch_timeout_seconds=0.1)

    failed = house.turn_until_status(job_id, "failed")

    assert failed.error is not None
    assert failed.error["code"] == "DISPATCH_TIMEOUT"
    assert timers(house) == 0


def test_a_task_without_a_result_in_time_fails_and_is_revoked(house: Stage) -> None:
    job_id = send(house, result_timeout_seconds=0.2)
    _, task = house.take_task("encode")
    house.tell(wire.TaskStarted(job_id, task.task_id, 1, "w", task.state), broker.TAKEN)

    failed = house.turn_until_status(job_id, "failed")

    assert failed.error is not None
    assert failed.error["code"] == "RESULT_TIMEOUT"


def test_the_execution_timeout_ends_a_task_and_a_delayed_one(house: Stage) -> None:
    running = send(house, execution_timeout_seconds=0.2)
    delayed = send(house, execution_timeout_seconds=0.2, delay_seconds=60)

    for job_id in (running, delayed):
        assert house.turn_until_status(job_id, "failed", "cancelled", "error").status == "failed"

    assert timers(house) == 0


# ---------------------------------------------------------------- cancellation


def test_a_cancelled_task_is_not_delivered(house: Stage) -> None:
    cancelled, other = send(house), send(house)
    house.store.signal(house.job(cancelled), "cancel", by="me")
    house.turn_until_status(cancelled, "cancelled")

    assert house.take_task("encode")[1].job_id == other


def test_the_result_of_a_task_that_was_cancelled_meanwhile_changes_nothing(house: Stage) -> None:
    job_id = send(house)
    taken = house.take_task("encode")
    house.store.signal(house.job(job_id), "cancel", by="me")
    house.turn_until_status(job_id, "cancelled")

    house.publish_result(taken, data={"frames": 3})
    house.turn_until(lambda: house.store.notes(job_id))

    assert (house.job(job_id).status, house.job(job_id).result) == ("cancelled", None)


# ---------------------------------------------------------------- later


@pytest.mark.parametrize("is_task", [True, False], ids=["task", "blueprint"])
def test_a_delayed_job_exists_at_once_and_starts_at_its_time(house: Stage, is_task: bool) -> None:
    new = task_of(delay_seconds=60) if is_task else NewJob(plan=hello.plan, client="me", delay_seconds=60)
    job_id = house.store.create(new).job_id
    for orchestrator in house.orchestrators:
        orchestrator.run_once()
    waiting = house.job(job_id)

    due = make_due(house)
    if is_task:
        house.turn_until_status(job_id, "waiting_for_worker")
        house.answer(house.take_task("encode"))
    house.turn_until_status(job_id, "finished")

    assert (waiting.status, waiting.tasks) == ("pending", {})
    assert due - waiting.created_ms in range(59_000, 61_000)
    assert timers(house) == 0


def test_a_job_starts_at_a_point_in_time_and_at_once_if_it_has_passed(house: Stage) -> None:
    future, past = send(house, at_ms=4_102_444_800_000), send(house, at_ms=1)

    house.turn_until_status(past, "waiting_for_worker")

    assert house.job(future).status == "pending"
    assert make_due(house) == 4_102_444_800_000


def test_a_cancelled_job_never_starts(house: Stage) -> None:
    job_id = send(house, delay_seconds=60)
    house.store.signal(house.job(job_id), "cancel", by="me")

    ended: Job = house.turn_until_status(job_id, "cancelled")

    assert ended.tasks == {}
    assert timers(house) == 0


# ---------------------------------------------------------------- explanations


def test_why_says_that_no_worker_has_the_skill(house: Stage) -> None:
    job_id = send(house)

    reasons = explain(house.store.job_facts.facts(house.job(job_id)))

    assert "No worker with the skill 'encode' is available. Start one that has it." in [each.text for each in reasons]


def test_the_graph_of_a_task_is_its_one_state() -> None:
    assert re.findall(r'label="?(\w+)"? ', dot(SINGLE_TASKS.plan)) == ["run"]
