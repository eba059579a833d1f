"""The execution timeout of a job: in memory, on a real server, and across restarts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from avtomatika import Blueprint
from avtomatika.errors import BlueprintError
from avtomatika.store import NewJob
from avtomatika.testing import NEVER_ANSWERS, run

from ..support.orchestrators import Stage

WEEKS = 3 * 7 * 24 * 3600


def film(**options: Any) -> Blueprint:
    bp = Blueprint(name="film", **options)

    @bp.handler(is_start=True)
    def start(actions: Any) -> None:
        actions.dispatch_task("encode", {}, transitions={"success": "end", "timeout": "end"}, result_timeout=10 * WEEKS)

    @bp.handler(is_end=True)
    def end() -> None: ...

    return bp


def test_a_job_that_takes_too_long_fails_and_no_timeout_transition_is_taken() -> None:
    ended = run(film(execution_timeout=WEEKS), skills={"encode": NEVER_ANSWERS})

    assert (ended.status, ended.seconds) == ("failed", WEEKS)
    assert ended.error == {"code": "DEADLINE_EXCEEDED", "message": f"the job did not end within {WEEKS} s"}
    assert ended.states == ("start",)
    assert ended.history[0].entry.data is not None
    assert ended.history[0].entry.data["execution_timeout"] == WEEKS
    assert ended.history[-1].entry.event_type == "job_failed"


def test_one_that_is_over_in_time_leaves_no_timer() -> None:
    ended = run(film(execution_timeout=60), skills={"encode": {}})

    assert (ended.status, ended.seconds, ended.notes) == ("finished", 0, ())


def test_quarantine_does_not_stop_the_clock() -> None:
    ended = run(film(execution_timeout=60), skills={"encode": {"status": "splendid"}})

    assert (ended.status, ended.seconds) == ("failed", 60)
    assert ended.error is not None
    assert ended.error["code"] == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize("value", [0, -1, "60", True, float("inf")])
def test_a_blueprint_refuses_what_is_no_time(value: Any) -> None:
    with pytest.raises(
        BlueprintError, match="execution_timeout must be a number of seconds above 0 and at most 3153600000, not"
    ):
        Blueprint("film", execution_timeout=value)


def test_the_job_s_own_time_goes_before_the_blueprint_s_and_survives_a_restart(
    stage: Callable[..., Stage], redis_url: str
) -> None:
    bp = film(execution_timeout=60)
    house = stage(bp)
    house.orchestrator()
    job_id = house.store.create(NewJob(plan=bp.plan, client="me", execution_timeout_seconds=WEEKS)).job_id
    house.turn_until_status(job_id, "waiting_for_worker")
    house.orchestrators.clear()  # all processes have ended
    with redis.Redis.from_url(redis_url) as server:
        [(name, due)] = server.zrange("{avt.g0}:timers", 0, -1, withscores=True)
        created = house.job(job_id).created_ms
        server.zadd("{avt.g0}:timers", {name: 0})
    house.orchestrator()
    job = house.turn_until_status(job_id, "failed")

    assert due == created + 1000 * WEEKS
    assert job.error is not None
    assert job.error["code"] == "DEADLINE_EXCEEDED"
    with redis.Redis.from_url(redis_url) as server:
        assert server.zcard("{avt.g0}:revoked") == 1  # its task need not start
        assert server.zcard("{avt.g0}:timers") == 0


def test_the_end_of_a_job_takes_its_timer_along(stage: Callable[..., Stage], redis_url: str) -> None:
    bp = film(execution_timeout=60)
    house = stage(bp)
    house.orchestrator()
    job_id = house.create(bp)
    house.turn_until_status(job_id, "waiting_for_worker")
    house.answer(house.take_task("encode"))
    house.turn_until_status(job_id, "finished")

    with redis.Redis.from_url(redis_url) as server:
        assert server.zcard("{avt.g0}:timers") == server.hlen("{avt.g0}:timers:messages") == 0
        assert server.zcard("{avt.g0}:revoked") == 0
