"""Every transition is a binding: where each event of each state is led to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from avtomatika import Blueprint, F
from avtomatika.core.plan import BUILTIN_OUTCOMES, STATE_EVENTS, Plan


def video(**changes: Any) -> Plan:
    """The plan of a blueprint of two queues; *changes* are made to its states."""
    bp = Blueprint(changes.get("name", "video"), api_endpoint=changes.get("api_endpoint"))

    @bp.handler("encode", changes.get("guard"), is_start=True)
    def encode(actions: Any, initial_data: Any) -> None:
        if initial_data:
            actions.dispatch_task("encode", transitions={"success": "check", "poor": "check", "bent": "done"})
        else:
            actions.dispatch_task("guess", transitions={"success": "check", "failure": "failed", "bent": "check"})

    @bp.handler(queue=changes.get("queue", "heavy"))
    def check(actions: Any) -> None:
        actions.go_to("done")

    @bp.handler(is_end=changes.get("is_end", True))
    def done() -> None: ...

    @bp.handler(is_end=True, queue="heavy")
    def failed() -> None: ...

    return bp.compile()


@pytest.fixture
def bindings() -> dict[str, str]:
    """``<state>.<outcome>`` -> short name of the queue."""
    plan = video()
    main = plan.main_queue
    return {f"{each.key.state}.{each.key.outcome}": each.queue.removeprefix(main) or "main" for each in plan.bindings}


def test_an_outcome_leads_to_the_queue_of_the_state_that_comes_next(bindings: dict[str, str]) -> None:
    assert bindings["encode.success"] == ".heavy"
    assert bindings["encode.poor"] == ".heavy"
    assert bindings["encode.failure"] == ".heavy"


def test_an_outcome_without_transition_leads_to_the_queue_of_the_state_itself(bindings: dict[str, str]) -> None:
    assert bindings["encode.timeout"] == "main"
    assert bindings["encode.cancelled"] == "main"


def test_an_outcome_that_leads_to_two_queues_is_decided_in_the_queue_of_the_state_itself(
    bindings: dict[str, str],
) -> None:
    assert bindings["encode.bent"] == "main"


def test_every_state_hears_its_own_events_in_its_own_queue(bindings: dict[str, str]) -> None:
    homes = {"encode": "main", "check": ".heavy", "done": "main", "failed": ".heavy"}

    assert {
        f"{state}.{event}": home for state, home in homes.items() for event in STATE_EVENTS
    }.items() <= bindings.items()


def test_the_start_alone_can_be_started(bindings: dict[str, str]) -> None:
    assert bindings["encode._start"] == "main"
    assert [key for key in bindings if key.endswith("._start")] == ["encode._start"]


def test_states_that_dispatch_nothing_have_no_outcomes(bindings: dict[str, str]) -> None:
    assert not [
        f"{state}.{word}" for state in ("check", "done") for word in BUILTIN_OUTCOMES if f"{state}.{word}" in bindings
    ]


def test_a_binding_tells_people_where_it_leads() -> None:
    [bent] = [binding for binding in video().bindings if binding.key.outcome == "bent"]

    assert bent.targets == ("done", "check")


def test_queues_are_named_after_blueprint_and_plan() -> None:
    plan = video()

    assert plan.queues == (f"steps.video@{plan.plan_hash}", f"steps.video@{plan.plan_hash}.heavy")
    assert plan.queue_of("check") == plan.queues[1]
    assert {binding.queue for binding in plan.bindings} == set(plan.queues)
    assert plan.key("encode", "success") == f"video@{plan.plan_hash}.encode.success"


class TestFingerprint:
    def test_is_the_same_for_the_same_routing(self) -> None:
        assert video().plan_hash == video().plan_hash
        assert len(video().plan_hash) == 8

    @pytest.mark.parametrize("change", [{"guard": F.initial_data.a == 1}, {"api_endpoint": "jobs/video"}])
    def test_knows_nothing_of_guards_and_apis(self, change: dict[str, Any]) -> None:
        assert video(**change).plan_hash == video().plan_hash

    @pytest.mark.parametrize("change", [{"name": "film"}, {"queue": "hot"}, {"is_end": "failed"}])
    def test_changes_with_the_routing(self, change: dict[str, Any]) -> None:
        assert video(**change).plan_hash != video().plan_hash

    def test_knows_nothing_of_the_order_of_definition(self) -> None:
        def plan_hash(*parts: Callable[[Blueprint], Any]) -> str:
            bp = Blueprint("shop")
            for part in parts:
                part(bp)
            return bp.plan.plan_hash

        def begin(actions: Any) -> None:
            actions.go_to("done")

        def first(bp: Blueprint) -> Any:
            return bp.handler("begin", is_start=True)(begin)

        def last(bp: Blueprint) -> Any:
            return bp.handler("done", is_end=True)(lambda: None)

        assert plan_hash(first, last) == plan_hash(last, first)
