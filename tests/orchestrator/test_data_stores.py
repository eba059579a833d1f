"""Data stores in handlers: in memory and on a real server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from avtomatika import Blueprint
from avtomatika.orchestrator.unit_of_work import HandlerServices
from avtomatika.store import RedisData
from avtomatika.testing import run

from ..support.orchestrators import Stage

bp = Blueprint(name="tickets")
bp.add_data_store("numbers", {"next": 100})


@bp.handler(is_start=True)
async def draw(data_stores: Any, state_history: Any, actions: Any) -> None:
    state_history["number"] = await data_stores.numbers.incr("next")
    actions.go_to("told")


@bp.handler
def told(data_stores: Any, number: int, actions: Any) -> None:
    data_stores["numbers"].set("last", number)
    actions.go_to("done")


@bp.handler(is_end=True)
def done(number: int) -> int:
    return number


def test_jobs_share_their_store_on_the_server(stage: Callable[..., Stage], redis_url: str) -> None:
    house = stage(bp)
    data = RedisData.connect(redis_url)
    house.orchestrator(services=HandlerServices(data=data))
    house.orchestrator(services=HandlerServices(data=data))

    job_ids = [house.create(bp) for _ in range(20)]
    numbers = [house.turn_until_status(job_id, "finished").result for job_id in job_ids]

    assert sorted(numbers) == list(range(101, 121))
    assert data.get(("tickets", "numbers"), "next") == "120"
    data.close()


def test_a_job_in_memory_finds_the_store_as_the_one_before_left_it() -> None:
    first = run(bp)
    second = run(bp, after=first)

    assert (first.result, second.result, run(bp).result) == (101, 102, 101)
    assert second.data_stores.numbers.get("last") == 102


def test_a_wrong_name_ends_the_job_with_the_names_there_are() -> None:
    wrong = Blueprint(name="wrong")
    wrong.add_data_store("numbers")

    @wrong.handler(is_start=True, is_end=True)
    def start(data_stores: Any) -> None:
        data_stores["number"].incr("x")

    ended = run(wrong)

    assert ended.status == "error"
    assert ended.error is not None
    assert "unknown data store 'number'" in ended.error["message"]
