"""Timers, approvals and children through real queues: the test turns the orchestrators and plays worker and people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from avtomatika import Blueprint
from avtomatika.errors import ConflictError, InvalidRequestError
from avtomatika.transport import connect

from ..support.orchestrators import Stage


def naps() -> Blueprint:
    bp = Blueprint("naps")

    @bp.handler(is_start=True)
    def start(initial_data: dict[str, Any], actions: Any) -> None:
        actions.wait(initial_data["seconds"], then="awake")

    @bp.handler(is_end=True, queue="morning")
    def awake() -> str:
        return "good morning"

    return bp


def letters() -> Blueprint:
    bp = Blueprint("letters")

    @bp.handler(is_start=True)
    def ask(actions: Any) -> None:
        actions.await_human_approval("mail", "Send it?", {"approved": "sent", "rejected": "kept"}, timeout=3600)

    @bp.handler(is_end=True)
    def sent(approval: dict[str, Any]) -> Any:
        return approval

    @bp.handler(is_end="failed")
    def kept() -> None: ...

    return bp


def family() -> tuple[Blueprint, Blueprint]:
    parent, child = Blueprint("parent"), Blueprint("child")

    @parent.handler(is_start=True)
    def begin(actions: Any) -> None:
        actions.run_blueprint("child", {"n": 1}, transitions={"success": "done", "cancelled": "alone"})

    @parent.handler(is_end=True)
    def done(depth: int) -> int:
        return depth

    @parent.handler(is_end=True)
    def alone() -> str:
        return "alone"

    @child.handler(is_start=True)
    def work(initial_data: dict[str, Any], actions: Any) -> None:
        actions.dispatch_task("dig", initial_data, transitions={"success": "good"})

    @child.handler(is_end=True)
    def good(depth: int) -> Any:
        return {"depth": depth}

    return parent, child


def test_a_job_waits_for_its_time(stage: Callable[..., Stage]) -> None:
    bp = naps()
    house = stage(bp)
    house.orchestrator()
    short, long = house.create(bp, seconds=0.2), house.create(bp, seconds=21 * 24 * 3600)

    job = house.turn_until_status(short, "finished")

    assert job.result == "good morning"
    assert "timer_fired start" in house.history(short)
    assert house.job(long).status == "waiting_for_timer"


def test_a_cancelled_one_leaves_no_timer(stage: Callable[..., Stage]) -> None:
    bp = naps()
    house = stage(bp)
    house.orchestrator()
    job = house.turn_until_status(house.create(bp, seconds=3600), "waiting_for_timer")

    house.store.signal(job, "cancel", by="me")
    house.turn_until_status(job.id, "cancelled")

    with connect(house.url) as client:
        assert client.zcard("{avt.g0}:timers") == 0
        assert client.hlen("{avt.g0}:timers:messages") == 0


def test_a_person_decides_once(stage: Callable[..., Stage]) -> None:
    bp = letters()
    house = stage(bp)
    house.orchestrator()
    job = house.turn_until_status(house.create(bp), "waiting_for_human")

    house.store.decide(job, "approved", by="ada", comment="fine")
    with pytest.raises(ConflictError, match="already decided: approved by ada"):
        house.store.decide(job, "rejected", by="bob")
    assert house.history(job.id)[-1] == "decision_made ask"
    ended = house.turn_until_status(job.id, "finished")

    assert ended.result == {"decision": "approved", "by": "ada", "comment": "fine"}
    with pytest.raises(ConflictError, match="the job does not wait for a decision: it is finished"):
        house.store.decide(ended, "approved", by="ada")
    with connect(house.url) as client:
        assert client.zcard("{avt.g0}:timers") == 0


def test_an_undeclared_decision_is_rejected(stage: Callable[..., Stage]) -> None:
    bp = letters()
    house = stage(bp)
    house.orchestrator()
    job = house.turn_until_status(house.create(bp), "waiting_for_human")

    with pytest.raises(InvalidRequestError, match="'maybe' is not one of the decisions approved, rejected"):
        house.store.decide(job, "maybe", by="ada")


def test_a_childs_result_reaches_its_parent(stage: Callable[..., Stage]) -> None:
    parent, child = family()
    house = stage(parent, child)
    house.orchestrator()
    job_id = house.create(parent)
    waiting = house.turn_until_status(job_id, "waiting_for_child")
    [child_id] = waiting.children

    house.turn_until_status(child_id, "waiting_for_worker")
    house.answer(house.take_task("dig"), data={"depth": 7})
    job = house.turn_until_status(job_id, "finished")

    assert job.result == 7
    born = house.job(child_id)
    assert born.parent is not None
    assert (born.status, born.parent.job_id, born.version) == ("finished", job_id, 3)
    assert "child_finished begin" in house.history(job_id)


def test_cancelling_a_parent_cancels_its_child(stage: Callable[..., Stage]) -> None:
    parent, child = family()
    house = stage(parent, child)
    house.orchestrator()
    waiting = house.turn_until_status(house.create(parent), "waiting_for_child")
    [child_id] = waiting.children
    house.turn_until_status(child_id, "waiting_for_worker")

    house.store.signal(waiting, "cancel", by="me")
    house.turn_until_status(child_id, "cancelled")

    assert house.job(waiting.id).status == "cancelled"
    with connect(house.url) as client:
        assert client.zrange("{avt.g0}:revoked", 0, -1) == [f"{child_id}.1".encode()]


def test_cancelling_a_child_notifies_its_parent(stage: Callable[..., Stage]) -> None:
    parent, child = family()
    house = stage(parent, child)
    house.orchestrator()
    waiting = house.turn_until_status(house.create(parent), "waiting_for_child")
    born = house.turn_until_status(waiting.children[0], "waiting_for_worker")

    house.store.signal(born, "cancel", by="me")
    job = house.turn_until_status(waiting.id, "finished")

    assert job.result == "alone"


def test_a_child_is_found_as_every_job_is(stage: Callable[..., Stage]) -> None:
    parent, child = family()
    house = stage(parent, child)
    house.orchestrator()
    waiting = house.turn_until_status(house.create(parent), "waiting_for_child")

    with connect(house.url) as client:
        [name] = client.zrange("{avt.g0}:jobs:blueprint:child", 0, -1)

    assert name.decode() == waiting.children[0]
