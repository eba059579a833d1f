"""Retries of tasks: limits of the task, its blueprint, or the orchestrator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from avtomatika import Blueprint, PermanentError, RetryPolicy, TransientError
from avtomatika.errors import BlueprintError
from avtomatika.testing import NEVER_ANSWERS, RunResult, run

from ..support.orchestrators import Stage

BUSY = {"status": "failure", "error": {"code": "BUSY", "message": "come back later"}}
PATIENT = RetryPolicy(jitter=0, by_code={"BUSY": RetryPolicy(max_retries=2, delay=60, jitter=0)})


def film(*, task: dict[str, Any] | None = None, **options: Any) -> Blueprint:
    bp = Blueprint(name="film", **options)

    @bp.handler(is_start=True, may_go_to=["done", "failed"])
    def start(actions: Any) -> None:
        transitions = {"success": "done", "failure": "failed", "timeout": "failed"}
        actions.dispatch_task("encode", {}, transitions=transitions, **(task or {}))

    @bp.handler(is_end=True)
    def done() -> None: ...

    @bp.handler(is_end="failed")
    def failed(error: dict[str, Any]) -> str:
        return str(error["code"])

    return bp


def attempts(ended: RunResult) -> int:
    return [each.entry.event_type for each in ended.history].count("task_taken")


@pytest.mark.parametrize(
    ("blueprint", "times"),
    [
        (film(), 4),
        (film(max_retries=1), 2),
        (film(retry=RetryPolicy(max_retries=5)), 6),
        (film(max_retries=5, task={"max_retries": 0}), 1),
        (film(max_retries=5, task={"retry": RetryPolicy(max_retries=2)}), 3),
        (film(max_retries=5, task={"retry": RetryPolicy(max_retries=2), "max_retries": 1}), 2),
    ],
)
def test_the_task_says_it_before_the_blueprint_and_the_blueprint_before_the_setting(
    blueprint: Blueprint, times: int
) -> None:
    ended = run(blueprint, skills={"encode": TransientError("no")})

    assert (attempts(ended), ended.result) == (times, "TRANSIENT_ERROR")


def test_pauses_are_those_of_the_policy() -> None:
    policy = RetryPolicy(max_retries=3, delay=100, max_delay=250, jitter=0)

    ended = run(film(retry=policy), skills={"encode": TransientError("no")})

    assert ended.seconds == 100 + 200 + 250


def test_a_code_that_the_policy_names_is_tried_again_in_its_own_way() -> None:
    ended = run(film(retry=PATIENT), skills={"encode": BUSY})

    assert (attempts(ended), ended.seconds, ended.result) == (3, 60 + 120, "BUSY")


def test_an_unlisted_error_code_is_not_retried() -> None:
    assert attempts(run(film(), skills={"encode": BUSY})) == 1
    assert attempts(run(film(retry=PATIENT), skills={"encode": PermanentError("no")})) == 1


def test_a_time_out_is_tried_again_only_where_the_policy_names_it() -> None:
    policy = RetryPolicy(by_code={"RESULT_TIMEOUT": RetryPolicy(max_retries=1, delay=1, jitter=0)})

    once = run(film(task={"result_timeout": 10}), skills={"encode": NEVER_ANSWERS})
    twice = run(film(task={"result_timeout": 10, "retry": policy}), skills={"encode": NEVER_ANSWERS})

    assert (attempts(once), once.seconds, once.result) == (1, 10, "RESULT_TIMEOUT")
    assert (attempts(twice), twice.seconds, twice.result) == (2, 21, "RESULT_TIMEOUT")


@pytest.mark.parametrize("options", [{"retry": 3}, {"max_retries": -1}, {"max_retries": "3"}])
def test_a_blueprint_refuses_what_is_no_policy(options: dict[str, Any]) -> None:
    with pytest.raises(BlueprintError, match=r"blueprint 'film': (retry|max_retries) must be"):
        film(**options)


def test_a_task_refuses_what_is_no_policy() -> None:
    ended = run(film(task={"retry": {"max_retries": 3}}), skills={"encode": 1})

    assert ended.error is not None
    assert "dispatch_task: retry must be a RetryPolicy" in ended.error["message"]


def test_the_policy_of_a_task_is_kept_on_the_server_until_it_is_needed(
    stage: Callable[..., Stage], redis_url: str
) -> None:
    house = stage(film(retry=PATIENT))
    house.orchestrator()
    job_id = house.create(house.blueprints[0])
    house.turn_until_status(job_id, "waiting_for_worker")
    house.answer(house.take_task("encode"), status="failure", error=BUSY["error"])
    house.turn_until(lambda: house.history(job_id)[-1] == "task_retried start")
    with redis.Redis.from_url(redis_url) as server:
        [(name, due)] = server.zrange("{avt.g0}:timers", 0, -1, withscores=True)
        server.zadd("{avt.g0}:timers", {name: 0})
    house.turn_until(lambda: house.history(job_id)[-1] == "task_dispatched start")
    house.answer(house.take_task("encode"))

    assert due - house.job(job_id).created_ms >= 60_000
    assert house.turn_until_status(job_id, "finished").status == "finished"
