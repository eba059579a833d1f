"""Results that must match a schema, on a real server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from avtomatika import Blueprint

from ..support.orchestrators import Stage

SCHEMA = {"type": "object", "properties": {"kilos": {"type": "number"}}, "required": ["kilos"]}

bp = Blueprint(name="scales")


@bp.handler(is_start=True)
def weigh(actions: Any) -> None:
    actions.dispatch_task("weigh", {}, transitions={"success": "done"}, output_schema=SCHEMA)


@bp.handler(is_end=True)
def done(kilos: float) -> float:
    return kilos


def test_a_result_that_violates_its_schema_quarantines_the_job_until_the_worker_is_fixed(
    stage: Callable[..., Stage],
) -> None:
    house = stage(bp)
    house.orchestrator()
    job_id = house.create(bp)

    house.turn_until_status(job_id, "waiting_for_worker")
    house.answer(house.take_task("weigh"), data={"kilos": "heavy"})
    resting = house.turn_until_status(job_id, "quarantined")
    house.store.signal(resting, "retry", by="me")
    house.turn_until_status(job_id, "waiting_for_worker")
    house.answer(house.take_task("weigh"), data={"kilos": 3})
    ended = house.turn_until_status(job_id, "finished")

    assert resting.error is not None
    assert (resting.error["code"], resting.error["path"]) == ("CONTRACT_VIOLATION", "$.kilos")
    assert ended.result == 3
