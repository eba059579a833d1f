"""Fan-out and fan-in through real queues; the test runs the orchestrators and acts as the worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from avtomatika import Blueprint
from avtomatika.core.machine.fan_out import CHUNK
from avtomatika.schemas import wire
from avtomatika.transport import connect

from ..support.orchestrators import Stage


def album(**branch: Any) -> Blueprint:
    bp = Blueprint("album")

    @bp.handler(is_start=True, may_go_to=["collect"])
    def split(initial_data: dict[str, Any], actions: Any) -> None:
        tasks = [{"task_type": "resize", "params": {"n": n}, **branch} for n in range(initial_data["count"])]
        actions.dispatch_parallel(tasks, aggregate_into="collect")

    @bp.aggregator(is_end=True, queue="heavy")
    def collect(aggregation_results: dict[str, Any]) -> Any:
        return [[each["status"], each["data"]] for each in aggregation_results.values()]

    return bp


def test_the_last_branch_to_end_joins_them_in_whatever_order_they_end(stage: Callable[..., Stage]) -> None:
    bp = album()
    house = stage(bp)
    house.orchestrator()
    house.orchestrator()
    job_id = house.create(bp, count=3)
    house.turn_until_status(job_id, "waiting_for_parallel")
    taken = [house.take_task("resize") for _ in range(3)]

    for each in reversed(taken):
        house.answer(each, data={"thumb": each[1].params["n"]})
    job = house.turn_until_status(job_id, "finished")

    assert job.result == [["success", {"thumb": 0}], ["success", {"thumb": 1}], ["success", {"thumb": 2}]]
    assert house.history(job_id)[-4:] == [
        "branch_finished split",
        "branches_joined split",
        "state_entered collect",
        "job_finished collect",
    ]
    assert job.version == 4, "created, dispatched, joined into another queue, ended: no branch changes the job"


def test_a_branch_whose_result_comes_twice_counts_once(stage: Callable[..., Stage]) -> None:
    bp = album()
    house = stage(bp)
    house.orchestrator()
    job_id = house.create(bp, count=2)
    house.turn_until_status(job_id, "waiting_for_parallel")
    first, second = house.take_task("resize"), house.take_task("resize")

    house.answer(first, data=1)
    house.publish_result(first, data="again")
    house.turn_until(lambda: len(house.store.notes(job_id)) == 1)
    house.answer(second, data=2)
    job = house.turn_until_status(job_id, "finished")

    assert job.result == [["success", 1], ["success", 2]]
    assert house.store.notes(job_id)[0]["reason"] == "the task is closed, or this is another attempt"


def test_one_that_fails_for_good_fails_the_job_and_drops_the_others(stage: Callable[..., Stage]) -> None:
    bp = album()
    house = stage(bp)
    house.orchestrator()
    job_id = house.create(bp, count=5)
    house.turn_until_status(job_id, "waiting_for_parallel")

    house.answer(house.take_task("resize"), status="failure", error={"code": "PERMANENT_ERROR", "message": "no photo"})
    job = house.turn_until_status(job_id, "failed")

    assert job.error == {"code": "PERMANENT_ERROR", "message": "no photo"}
    with connect(house.url) as client:
        left = [key for key in client.keys(f"{{avt.g0}}:job:{job_id}:*") if not key.endswith((b":history", b":notes"))]
        revoked = client.zrange("{avt.g0}:revoked", 0, -1)
    assert left == []
    assert revoked == [f"{job_id}.1".encode()]
    assert house.controls() == [wire.Cancel(f"{job_id}.1")], "who works on one of the others is told to stop"


def test_one_that_fails_can_be_collected_as_the_last(stage: Callable[..., Stage]) -> None:
    bp = album(transitions={"failure": "collect"})
    house = stage(bp)
    house.orchestrator()
    job_id = house.create(bp, count=2)
    house.turn_until_status(job_id, "waiting_for_parallel")

    house.answer(house.take_task("resize"), data=1)
    house.answer(house.take_task("resize"), status="failure", error={"code": "PERMANENT_ERROR", "message": "no"})
    job = house.turn_until_status(job_id, "finished")

    assert job.result == [["success", 1], ["failure", None]]


def test_one_is_tried_again_while_the_others_wait(stage: Callable[..., Stage]) -> None:
    bp = album()
    house = stage(bp)
    house.orchestrator()
    job_id = house.create(bp, count=2)
    house.turn_until_status(job_id, "waiting_for_parallel")

    house.answer(house.take_task("resize"), status="failure", error={"code": "TRANSIENT_ERROR", "message": "busy"})
    house.answer(house.take_task("resize"), data=2)
    house.turn_until(lambda: any("task_retried" in line for line in house.history(job_id)))
    house.turn_until(lambda: house.history(job_id).count("task_dispatched split") == 3)
    again = house.take_task("resize")
    house.answer(again, data=1)
    job = house.turn_until_status(job_id, "finished")

    assert again[1].attempt == 2
    assert job.result == [["success", 1], ["success", 2]]


def test_results_that_must_fit_a_schema_are_looked_at(stage: Callable[..., Stage]) -> None:
    bp = album(output_schema={"type": "integer"})
    house = stage(bp)
    house.orchestrator()
    job_id = house.create(bp, count=2)
    house.turn_until_status(job_id, "waiting_for_parallel")

    house.answer(house.take_task("resize"), data=1)
    house.answer(house.take_task("resize"), data="two")
    job = house.turn_until_status(job_id, "quarantined")

    assert job.error is not None
    assert job.error["code"] == "CONTRACT_VIOLATION"


def test_a_retried_quarantined_job_dispatches_all_branches_again(stage: Callable[..., Stage]) -> None:
    bp = album()
    house = stage(bp)
    house.orchestrator()
    job_id = house.create(bp, count=1)
    house.turn_until_status(job_id, "waiting_for_parallel")
    house.answer(house.take_task("resize"), status="no_such_word")
    quarantined = house.turn_until_status(job_id, "quarantined")

    house.store.signal(quarantined, "retry", by="me")
    house.turn_until_status(job_id, "waiting_for_parallel")
    again = house.take_task("resize")
    house.answer(again, data=1)
    job = house.turn_until_status(job_id, "finished")

    assert again[1].task_id == f"{job_id}.2.1"
    assert job.result == [["success", 1]]


@pytest.mark.parametrize("count", [0, CHUNK + 1])
def test_none_and_more_than_one_commit_can_send(stage: Callable[..., Stage], count: int) -> None:
    bp = album()
    house = stage(bp)
    house.orchestrator()
    job_id = house.create(bp, count=count)

    house.turn_until(lambda: house.job(job_id).status == "finished" or sent(house, job_id) == count)
    for _ in range(count):
        house.answer(house.take_task("resize"), data=None)
    job = house.turn_until_status(job_id, "finished")

    assert len(job.result) == count


def sent(house: Stage, job_id: str) -> int:
    fan_out = house.job(job_id).fan_out
    return 0 if fan_out is None else fan_out.sent


def test_what_a_branch_costs_does_not_grow_with_their_number(stage: Callable[..., Stage]) -> None:
    costs = {count: _cost_of_a_branch(stage, count) for count in (50, 500)}

    assert costs[500]["commands"] <= 1.5 * costs[50]["commands"]
    assert costs[500]["bytes"] <= 1.5 * costs[50]["bytes"]


@pytest.mark.faults
def test_nor_with_ten_thousand_of_them(stage: Callable[..., Stage]) -> None:
    costs = {count: _cost_of_a_branch(stage, count) for count in (100, 10_000)}
    print(costs)

    assert costs[10_000]["commands"] <= 1.5 * costs[100]["commands"]
    assert costs[10_000]["bytes"] <= 1.5 * costs[100]["bytes"]


def _cost_of_a_branch(stage: Callable[..., Stage], count: int) -> dict[str, float]:
    """Return the commands and bytes that the server processed for each of *count* branches of one job."""
    bp = album()
    house = stage(bp)
    house.orchestrator()
    with connect(house.url) as client:
        before = _spent(client)
        job_id = house.create(bp, count=count)
        house.turn_until(lambda: sent(house, job_id) == count)
        for _ in range(count):
            house.answer(house.take_task("resize"), data={"thumb": "s3://bucket/thumb.jpg"})
        house.turn_until_status(job_id, "finished")
        after = _spent(client)
    return {what: (after[what] - before[what]) / count for what in before}


def _spent(client: Any) -> dict[str, float]:
    stats = client.info("stats")
    return {"commands": stats["total_commands_processed"], "bytes": stats["total_net_input_bytes"]}


@pytest.mark.parametrize("schema", [{}, {"output_schema": {"type": "object"}}], ids=["stored alone", "checked"])
def test_the_results_of_all_branches_are_bounded_together(stage: Callable[..., Stage], schema: dict[str, Any]) -> None:
    bp = album(**schema)
    house = stage(bp)
    house.orchestrator(max_job_bytes=100_000)
    job_id = house.create(bp, count=3)
    house.turn_until_status(job_id, "waiting_for_parallel")
    for _ in range(3):
        house.answer(house.take_task("resize"), data={"thumb": "x" * 40_000})

    job = house.turn_until_status(job_id, "error")

    assert job.error is not None
    assert job.error["code"] == "JOB_TOO_LARGE"
    assert "state 'split'" in job.error["message"]
    assert "120" in job.error["message"], "the size is named"
    assert house.history(job_id)[-1] == "job_error split"
