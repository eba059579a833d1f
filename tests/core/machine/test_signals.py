"""Waiting for a signal: before, during and after the wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from avtomatika import Blueprint
from avtomatika.core.blueprint.actions import Actions
from avtomatika.core.events import SignalReceived, Start
from avtomatika.core.job import Job, JobStatus, Json
from avtomatika.core.job_request import JobRequest
from avtomatika.core.machine import decisions, machine
from avtomatika.core.machine.creation import new_job
from avtomatika.core.machine.signals import check_early
from avtomatika.core.step import Step
from avtomatika.errors import BlueprintError, HandlerError, InvalidRequestError, NotFoundError
from avtomatika.testing import run

from ...support.history_replay import replay


@dataclass
class Paid:
    amount: int


def orders(**options: Any) -> Blueprint:
    bp = Blueprint("orders")

    @bp.handler(is_start=True, may_go_to=["ship", "remind", "failed"])
    def ask(actions: Any) -> None:
        actions.wait_for("paid", **{"transitions": {"received": "ship"}, **options})

    @bp.handler
    def remind(actions: Any) -> None:
        actions.wait_for(signal="paid", schema=Paid, transitions={"received": "ship", "timeout": "failed"}, timeout=60)

    @bp.handler(is_end=True)
    def ship(signal_data: Any) -> Any:
        return signal_data

    @bp.handler(is_end=True)
    def failed() -> None: ...

    return bp


def signal(data: Json, name: str = "paid", signal_id: str = "5a1f") -> dict[str, Json]:
    return {"id": signal_id, "name": name, "by": "shop", "data": data}


def decided(job: Job, bp: Blueprint) -> Step:
    """The step of the first handler."""
    actions = Actions()
    bp.handlers["ask"][0].function(actions=actions)
    action = actions.decision(None, bp.plan.states["ask"])
    return decisions.decide(bp.plan, job, action, queue=None, patch={})


def in_ask(bp: Blueprint, *signals: dict[str, Json]) -> Job:
    job = new_job(bp.plan, JobRequest(), job_id="g0-1", client="shop").job.evolve(signals=signals)
    return machine.advance(bp.plan, job, Start("g0-1"), queue=None).job


def kinds(step: Step) -> list[str]:
    return [entry.event_type for entry in step.history]


class TestTheWait:
    def test_continues_with_the_data(self) -> None:
        ended = run(orders(schema=Paid), signals={"paid": {"amount": 3}})

        assert (ended.status, ended.result) == ("finished", {"amount": 3})
        told = [each.entry.event_type for each in ended.history]
        assert told[2:5] == ["signal_awaited", "signal_received", "signal_taken"]
        first = new_job(orders().plan, JobRequest(), job_id="test-1", client="testing").job
        assert replay(first, [each.entry for each in ended.history]).state_history == {"signal_data": {"amount": 3}}

    def test_times_out_into_its_transition_or_fails_the_job(self) -> None:
        twice = run(orders(transitions={"received": "ship", "timeout": "remind"}, timeout=30))
        assert (twice.status, twice.seconds) == ("failed", 90)

        alone = run(orders(timeout=30))
        assert (alone.status, alone.job.error) == (
            "failed",
            {"code": "SIGNAL_TIMEOUT", "message": "no signal 'paid' within 30 s"},
        )

    def test_ignores_other_signals_and_keeps_them(self) -> None:
        bp = orders()
        waiting = decided(in_ask(bp), bp).job.evolve(signals=(signal(None, "shipped"),))

        step = machine.advance(bp.plan, waiting, SignalReceived("g0-1", "5a1f"), queue=None)

        assert step.note is not None
        assert step.note["reason"] == "the job waits for the signal 'paid'"
        assert step.job.signals == (signal(None, "shipped"),)


class TestASignalBeforeTheWait:
    def test_is_taken_at_once_and_the_others_stay(self) -> None:
        bp = orders(timeout=30)
        first, second, other = signal({"amount": 1}), signal({"amount": 2}, signal_id="2"), signal(None, "shipped", "3")

        step = decided(in_ask(bp, other, first, second), bp)

        assert kinds(step) == ["state_entered", "signal_awaited", "signal_taken"]
        assert step.enter == "ship"
        assert step.job.state_history["signal_data"] == {"amount": 1}
        assert step.job.signals == (other, second)
        assert step.timers == ()

    def test_is_dropped_if_it_does_not_fit(self) -> None:
        bp = orders(schema=Paid)

        step = decided(in_ask(bp, signal({"amount": "much"}), signal({"amount": 2}, signal_id="2")), bp)

        assert kinds(step) == ["state_entered", "signal_awaited", "signal_rejected", "signal_taken"]
        assert step.history[2].data is not None
        assert step.history[2].data["error"]["code"] == "INVALID_SIGNAL"
        assert (step.job.signals, step.job.state_history["signal_data"]) == ((), {"amount": 2})

    def test_leaves_the_job_waiting_if_none_fits(self) -> None:
        bp = orders(schema=Paid)

        step = decided(in_ask(bp, signal(None)), bp)

        assert (step.job.status, step.job.signals) == (JobStatus.WAITING_FOR_SIGNAL, ())

    def test_is_dropped_with_the_end_of_the_job(self) -> None:
        bp = orders()
        job = in_ask(bp, signal(None, "shipped"))

        assert decisions.broken(job, message="x").job.signals == ()


class TestTheCompiler:
    def test_knows_signals_and_their_schemas(self) -> None:
        plan = orders().plan

        assert plan.states["remind"].signals[0][0] == "paid"
        check_early(plan, "paid", {"amount": 3})

    def test_names_a_signal_that_no_state_waits_for(self) -> None:
        bp = Blueprint("orders")

        @bp.handler(is_start=True)
        def ask(actions: Any) -> None:
            actions.wait_for("paid", schema=Paid, transitions={"received": "ship"})

        @bp.handler(is_end=True)
        def ship() -> None: ...

        with pytest.raises(NotFoundError, match="no signal 'payed'; did you mean 'paid'"):
            check_early(bp.plan, "payed", None)
        with pytest.raises(InvalidRequestError, match="the data of the signal 'paid': amount is missing"):
            check_early(bp.plan, "paid", None)

    @pytest.mark.parametrize(
        ("transitions", "message"),
        [
            ({"paid": "ship", "received": "ship"}, "wait_for has no outcome 'paid'; it has received, timeout"),
            ({"timeout": "ship"}, "wait_for has no transition for 'received'"),
            ({"received": "shop"}, "a transition leads to the unknown state 'shop'"),
        ],
    )
    def test_checks_its_transitions(self, transitions: dict[str, str], message: str) -> None:
        bp = Blueprint("orders")

        @bp.handler(is_start=True)
        def ask(actions: Any) -> None:
            actions.wait_for("paid", transitions)

        @bp.handler(is_end=True)
        def ship() -> None: ...

        with pytest.raises(BlueprintError, match=message):
            bp.compile()

    def test_its_outcomes_are_checked_at_run_time_too(self) -> None:
        ended = run(orders(transitions={"received": "ship", "late": "failed"}))

        assert ended.job.error is not None
        assert "wait_for: transitions must have 'received', and may have 'timeout'" in ended.job.error["message"]
        with pytest.raises(HandlerError, match="wait_for: the signal"):
            Actions().wait_for("no name", {"received": "ship"})
