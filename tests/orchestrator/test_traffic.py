"""Live traffic of a blueprint's jobs, read from the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from avtomatika import Blueprint
from avtomatika.core.graph.traffic import Depth
from avtomatika.store import traffic as module

from ..support.orchestrators import Stage


def film() -> Blueprint:
    bp = Blueprint("film")

    @bp.handler(is_start=True)
    def start(actions: Any) -> None:
        actions.dispatch_task("encode", transitions={"success": "publish", "failure": "failed"})

    @bp.handler
    def publish(actions: Any) -> None:
        actions.wait(3600, then="done")

    @bp.handler(is_end=True)
    def done() -> None: ...

    @bp.handler(is_end="failed")
    def failed() -> None: ...

    return bp


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FRESH_SECONDS", 0.0)


def test_jobs_are_counted_by_state_and_messages_by_queue(stage: Callable[..., Stage]) -> None:
    bp, other = film(), Blueprint("other")
    other.handler("only", is_start=True, is_end=True)(lambda: None)
    house = stage(bp, other)
    house.orchestrator()
    jobs = [house.create(bp) for _ in range(4)]
    house.create(other)
    for job_id in jobs:
        house.turn_until_status(job_id, "waiting_for_worker")
    house.answer(house.take_task("encode"))
    house.turn_until(lambda: house.store.count("waiting_for_timer") == 1)
    house.take_task("encode")
    waiting = house.create(bp)

    live = house.store.traffic.of(bp.plan)

    assert live.count == 5
    assert live.traffic.jobs == {"start": 4, "publish": 1}
    assert live.traffic.depths[bp.plan.main_queue] == Depth(waiting=1)
    encode = live.traffic.depths["encode"]
    assert encode.waiting + encode.in_flight == 3
    assert encode.in_flight >= 1
    assert live.running[0].job_id == waiting, "the newest first"


def test_what_is_over_tells_how_long_it_takes(stage: Callable[..., Stage]) -> None:
    bp = film()
    house = stage(bp)
    house.orchestrator()
    for _ in range(3):
        job_id = house.create(bp)
        house.turn_until_status(job_id, "waiting_for_worker")
        house.answer(house.take_task("encode"), status="failure", error={"code": "PERMANENT_ERROR", "message": "no"})
        house.turn_until_status(job_id, "failed")
    running = house.create(bp)
    house.turn_until_status(running, "waiting_for_worker")

    live = house.store.traffic.of(bp.plan)

    figures = live.traffic.edges["start", "failed", "failure"]
    assert (live.traffic.sampled, figures.count, figures.share, figures.failure_share) == (3, 3, 1.0, 1.0)
    assert 0 <= figures.p50_ms <= figures.p95_ms < 15_000
    assert [job.state for job in live.running] == ["start"]


def test_it_is_read_once_for_all_who_ask_within_seconds(
    stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FRESH_SECONDS", 60.0)
    bp = film()
    house = stage(bp)

    first = house.store.traffic.of(bp.plan)
    house.create(bp)

    assert house.store.traffic.of(bp.plan) is first
