"""Quarantined jobs fail after a month; a job that was retried in between does not."""

from __future__ import annotations

from collections.abc import Callable
from time import time_ns
from typing import Any

import redis

from avtomatika import Blueprint
from avtomatika.core.events import Signal
from avtomatika.core.job import Job
from avtomatika.core.machine import machine
from avtomatika.core.machine.moves import error, quarantine
from avtomatika.orchestrator.sweeps import QUARANTINE_SECONDS, fail_expired
from avtomatika.store.keys import Keys

from ..support.orchestrators import Stage

bp = Blueprint(name="resting")


@bp.handler(is_start=True)
def start(actions: Any) -> None:
    actions.dispatch_task("dig", {}, transitions={"success": "end"})


@bp.handler(is_end=True)
def end() -> None: ...


def resting_jobs(house: Stage, count: int) -> list[Job]:
    house.orchestrator()
    ids = [house.create(bp) for _ in range(count)]
    for job_id in ids:
        house.turn_until_status(job_id, "waiting_for_worker")
    for _ in ids:
        house.answer(house.take_task("dig"), status="failure", error={"code": "PERMANENT_ERROR", "message": "rock"})
    return [house.turn_until_status(job_id, "quarantined") for job_id in ids]


def after(days: float) -> int:
    return time_ns() // 1_000_000 + round(days * 24 * 3600 * 1000)


def test_after_a_month_it_fails_and_says_what_for(stage: Callable[..., Stage]) -> None:
    house = stage(bp)
    first, second = resting_jobs(house, 2)

    assert sum(fail_expired(house.store, now_ms=after(29))) == 0
    assert sum(fail_expired(house.store, now_ms=after(31))) == 2
    for job in (first, second):
        ended = house.turn_until_status(job.id, "failed")
        assert ended.error == {
            "code": "QUARANTINE_EXPIRED",
            "message": "it was neither retried nor cancelled in time: rock",
        }
    assert sum(fail_expired(house.store, now_ms=after(31))) == 0


def test_one_that_went_on_meanwhile_goes_on(stage: Callable[..., Stage]) -> None:
    house = stage(bp)
    [job] = resting_jobs(house, 1)
    house.store.signal(job, "retry", by="me")
    sum(fail_expired(house.store, now_ms=after(31)))  # the first signal has not been consumed

    going_on = house.turn_until_status(job.id, "waiting_for_worker", "failed")
    house.turn_until(lambda: bool(house.store.notes(job.id)))

    assert going_on.status == "waiting_for_worker"


def test_a_wish_of_another_quarantine_is_ignored() -> None:
    job = Job("g0-1", "resting", bp.plan.plan_hash, current_state="start", version=7)
    resting = quarantine(job, error("X", "x")).job.evolve(version=8)

    late = machine.advance(bp.plan, resting, Signal("g0-1", "expire", "avtomatika", "g0-1:5"), queue=None)
    now = machine.advance(bp.plan, resting, Signal("g0-1", "expire", "avtomatika", "g0-1:8"), queue=None)

    assert late.note is not None
    assert now.job.status == "failed"


def test_an_orchestrator_looks_once_an_hour(stage: Callable[..., Stage]) -> None:
    house = stage(bp)
    [job] = resting_jobs(house, 1)
    house.orchestrators.clear()
    with redis.Redis.from_url(house.url) as server:  # the hour has passed
        server.delete(Keys().claim("quarantine"))
        server.hset(Keys().job(job.id), "updated", after(-31))
    house.orchestrator()

    assert house.turn_until_status(job.id, "failed").error is not None
    assert QUARANTINE_SECONDS == 30 * 24 * 3600
