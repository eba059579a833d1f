"""Signals through real queues: before, during and after the wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from avtomatika import Blueprint
from avtomatika.core.explain.why import explain
from avtomatika.errors import ConflictError
from avtomatika.transport import connect

from ..support.orchestrators import Stage


def orders() -> Blueprint:
    bp = Blueprint("orders")

    @bp.handler(is_start=True)
    def start(actions: Any) -> None:
        actions.dispatch_task("pack", {}, {"success": "ask"})

    @bp.handler(queue="money")
    def ask(actions: Any) -> None:
        actions.wait_for("paid", timeout=3600, transitions={"received": "again"})

    @bp.handler
    def again(signal_data: Any, actions: Any, job_data: dict[str, Any]) -> None:
        job_data["first"] = signal_data
        actions.wait_for("paid", transitions={"received": "ship"})

    @bp.handler(is_end=True)
    def ship(first: Any, signal_data: Any) -> Any:
        return [first, signal_data]

    return bp


@pytest.fixture
def house(stage: Callable[..., Stage]) -> Stage:
    made = stage(orders())
    made.orchestrator()
    return made


def packed(house: Stage) -> str:
    """A job whose task is done."""
    job_id = house.create(house.blueprints[0])
    house.turn_until_status(job_id, "waiting_for_worker")
    house.answer(house.take_task("pack"))
    return job_id


def test_signals_before_and_during_the_wait(house: Stage) -> None:
    job_id = house.create(house.blueprints[0])
    house.store.signals.send(house.job(job_id), "paid", {"n": 1}, by="shop")  # no handler has run yet
    house.turn_until_status(job_id, "waiting_for_worker")
    house.answer(house.take_task("pack"))
    waiting = house.turn_until_status(job_id, "waiting_for_signal")
    assert (waiting.current_state, waiting.signals) == ("again", ())

    house.store.signals.send(waiting, "late", None, by="shop")
    house.store.signals.send(waiting, "paid", {"n": 2}, by="shop")
    job = house.turn_until_status(job_id, "finished")

    assert job.result == [{"n": 1}, {"n": 2}]
    told = house.history(job_id)
    assert [each for each in told if each.startswith("signal_")] == [
        "signal_received",
        "signal_awaited ask",
        "signal_taken ask",
        "signal_awaited again",
        "signal_received",
        "signal_received",
        "signal_taken again",
    ]
    with connect(house.url) as client:
        assert client.zcard("{avt.g0}:timers") == 0
        assert client.hget(f"{{avt.g0}}:job:{job_id}", "signals") == b""


def test_a_signal_while_the_handler_of_the_wait_runs_is_not_missed(house: Stage) -> None:
    """The step that waits was decided without the signal: it is decided again."""
    bp, sent = house.blueprints[0], list[str]()
    job_id = packed(house)
    original = bp.handlers["ask"][0].function

    def ask(actions: Any) -> None:
        if not sent:
            sent.append("once")
            house.store.signals.send(house.job(job_id), "paid", {"n": 1}, by="shop")
        original(actions=actions)

    object.__setattr__(bp.handlers["ask"][0], "function", ask)
    job = house.turn_until_status(job_id, "waiting_for_signal")

    assert (job.current_state, job.state_history["first"]) == ("again", {"n": 1})


def test_the_same_again_changes_nothing_even_after_the_end(house: Stage) -> None:
    job_id = packed(house)
    job = house.turn_until_status(job_id, "waiting_for_signal")

    for _ in range(3):
        house.store.signals.send(job, "paid", {"n": 1}, by="shop", idempotency_key="payment-1")
    with pytest.raises(ConflictError, match="the idempotency key was used for this job with other data"):
        house.store.signals.send(job, "paid", {"n": 7}, by="shop", idempotency_key="payment-1")
    house.turn_until(lambda: house.job(job_id).current_state == "again")
    house.store.signals.send(job, "paid", None, by="shop", idempotency_key="payment-2")
    house.turn_until_status(job_id, "finished")

    house.store.signals.send(job, "paid", None, by="shop", idempotency_key="payment-2")
    with pytest.raises(ConflictError, match="the job takes no more signals: it is finished"):
        house.store.signals.send(job, "paid", None, by="shop")
    assert house.history(job_id).count("signal_received") == 2


def test_a_job_keeps_only_so_many(house: Stage) -> None:
    job = house.job(house.create(house.blueprints[0]))
    for number in range(100):
        house.store.signals.send(job, "paid", number, by="shop")

    with pytest.raises(ConflictError, match="it keeps at most 100 signals"):
        house.store.signals.send(job, "paid", 100, by="shop")
    assert [signal["data"] for signal in house.job(job.id).signals] == list(range(100))


def test_an_ended_job_refuses_signals(house: Stage) -> None:
    job_id = packed(house)
    job = house.turn_until_status(job_id, "waiting_for_signal")
    house.store.signal(job, "cancel", by="me")
    house.turn_until_status(job_id, "cancelled")

    with pytest.raises(ConflictError, match="it is cancelled"):
        house.store.signals.send(job, "paid", None, by="shop")


def test_why_names_the_signal(house: Stage) -> None:
    job_id = packed(house)
    job = house.turn_until_status(job_id, "waiting_for_signal")

    house.turn_until(lambda: explain(house.store.job_facts.facts(job))[0].code != "plan_not_served")
    [reason] = explain(house.store.job_facts.facts(job))

    assert reason.code == "waits_for_signal"
    assert "for the signal 'paid'; it must arrive within 59 minutes" in reason.text
