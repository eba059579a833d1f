"""Settings of a blueprint apply to child jobs and branches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis

from avtomatika import Blueprint, RetryPolicy

from ..support.orchestrators import Stage

SCHEMA = {"type": "object", "required": ["size"], "properties": {"size": {"type": "integer"}}}


def parent() -> Blueprint:
    bp = Blueprint(name="parent")

    @bp.handler(is_start=True)
    def start(actions: Any) -> None:
        actions.run_blueprint("child", {}, transitions={"success": "end", "failure": "late"})

    @bp.handler(is_end=True)
    def end() -> None: ...

    @bp.handler(is_end="failed")
    def late(error: dict[str, Any]) -> Any:
        return error["code"]

    return bp


def child() -> Blueprint:
    bp = Blueprint(name="child", execution_timeout=3600)

    @bp.handler(is_start=True)
    def start(actions: Any) -> None:
        actions.dispatch_task("dig", {}, transitions={"success": "end"})

    @bp.handler(is_end=True)
    def end() -> None: ...

    return bp


def test_a_child_has_the_deadline_of_its_blueprint_and_its_parent_is_notified(
    stage: Callable[..., Stage], redis_url: str
) -> None:
    house = stage(parent(), child())
    house.orchestrator()
    job_id = house.create(house.blueprints[0])
    house.turn_until(lambda: bool(house.job(job_id).children))
    [child_id] = house.job(job_id).children
    house.turn_until_status(child_id, "waiting_for_worker")
    with redis.Redis.from_url(redis_url) as server:
        [(name, due)] = server.zrange("{avt.g0}:timers", 0, -1, withscores=True)
        server.zadd("{avt.g0}:timers", {name: 0})

    job = house.turn_until_status(job_id, "failed", "quarantined")

    assert due == house.job(child_id).created_ms + 3_600_000
    assert (job.status, job.result) == ("failed", "DEADLINE_EXCEEDED")


def spread() -> Blueprint:
    bp = Blueprint(name="spread", retry=RetryPolicy(max_retries=0))

    @bp.handler(is_start=True)
    def start(actions: Any) -> None:
        tasks = [{"type": "measure", "params": {"n": n}, "output_schema": SCHEMA} for n in range(3)]
        actions.dispatch_parallel(tasks, aggregate_into="add")

    @bp.aggregator(is_end=True)
    def add(aggregation_results: dict[str, Any]) -> int:
        return sum(each["data"]["size"] for each in aggregation_results.values())

    return bp


def test_a_branch_whose_result_breaks_its_schema_quarantines_the_job(stage: Callable[..., Stage]) -> None:
    house = stage(spread())
    house.orchestrator()
    good, bad = (house.create(house.blueprints[0]) for _ in range(2))
    for job_id in (good, bad):
        house.turn_until_status(job_id, "waiting_for_parallel")
    for _ in range(6):
        taken = house.take_task("measure")
        is_bad = taken[1].job_id == bad and taken[1].params == {"n": 1}
        house.answer(taken, data={"size": "big" if is_bad else taken[1].params["n"]})

    assert house.turn_until_status(good, "finished").result == 3
    resting = house.turn_until_status(bad, "quarantined")
    assert resting.error is not None
    assert (resting.error["code"], resting.error["path"]) == ("CONTRACT_VIOLATION", "$.size")


def test_a_branch_is_tried_again_as_its_blueprint_says(stage: Callable[..., Stage]) -> None:
    house = stage(spread())
    house.orchestrator()
    job_id = house.create(house.blueprints[0])
    house.turn_until_status(job_id, "waiting_for_parallel")
    house.answer(house.take_task("measure"), status="failure", error={"code": "TRANSIENT_ERROR", "message": "no"})

    job = house.turn_until_status(job_id, "failed")

    assert job.error is not None
    assert job.error["code"] == "TRANSIENT_ERROR"
