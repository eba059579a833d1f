"""The recorder: one action per handler, checked when it is called."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import pytest

from avtomatika.core.blueprint.action_types import AwaitApproval, DispatchTask, End, GoTo
from avtomatika.core.blueprint.actions import Actions
from avtomatika.core.plan import EndKind, StatePlan, Transition, Via
from avtomatika.errors import HandlerError

PACK = StatePlan(
    "pack",
    transitions=(
        Transition("done"),
        Transition("done", "success", "box", via=Via.TASK),
        Transition("failed", "bent", "box", via=Via.TASK),
    ),
    may_go_to=("anywhere",),
    dispatches=True,
)
DONE = StatePlan("done", end=EndKind.FINISHED)


class TestDecision:
    def test_goes_to_a_state(self) -> None:
        actions = Actions()

        actions.go_to("done")

        assert actions.decision(None, PACK) == GoTo("done")

    def test_dispatches_a_task(self) -> None:
        actions = Actions()

        actions.dispatch_task(
            "box",
            {"size": (1, 2)},
            {"success": "done"},
            priority=5,
            max_retries=0,
            dispatch_timeout=60,
            result_timeout=0.5,
        )

        assert actions.decision(None, PACK) == DispatchTask(
            "box", {"size": [1, 2]}, {"success": "done"}, 5, 0, dispatch_timeout_seconds=60, result_timeout_seconds=0.5
        )

    def test_ends_with_what_was_returned(self) -> None:
        assert Actions().decision({"url": "s3://a/b"}, DONE) == End({"url": "s3://a/b"})

    def test_is_taken_before_the_parameters_change(self) -> None:
        actions = Actions()
        params = {"sizes": [1]}

        actions.dispatch_task("box", params, {"success": "done"})
        params["sizes"].append(2)

        decision = actions.decision(None, PACK)
        assert isinstance(decision, DispatchTask)
        assert decision.params == {"sizes": [1]}

    def test_may_lead_to_what_was_declared(self) -> None:
        actions = Actions()

        actions.dispatch_task("crate", {}, {"success": "anywhere", "bent": "anywhere", "timeout": "anywhere"})

        assert isinstance(actions.decision(None, PACK), DispatchTask)


class TestRefusals:
    def test_no_action(self) -> None:
        message = "state 'pack': its handler returned without an action: call go_to(...) or dispatch_task(...)"
        with pytest.raises(HandlerError, match=re.escape(message)):
            Actions().decision({"returned": "but not asked for"}, PACK)

    def test_two_actions_where_the_second_is_taken_and_again_at_the_end(self) -> None:
        actions = Actions()
        actions.go_to("done")
        message = "a handler takes one action, but go_to('done') was followed by dispatch_task('box')"

        with pytest.raises(HandlerError, match=re.escape(message)):
            actions.dispatch_task("box", {}, {"success": "done"})

        with pytest.raises(HandlerError, match=re.escape(f"state 'pack': {message}")):
            actions.decision(None, PACK)

    def test_a_refused_action_that_the_handler_swallowed(self) -> None:
        actions = Actions()
        with pytest.raises(HandlerError):
            actions.go_to("")

        actions.go_to("done")

        with pytest.raises(HandlerError, match="state 'pack': go_to: the state '' may contain letters"):
            actions.decision(None, PACK)

    def test_an_action_of_an_end(self) -> None:
        actions = Actions()
        actions.go_to("pack")

        with pytest.raises(
            HandlerError, match=re.escape("state 'done': it is an end state, but its handler called go_to('pack')")
        ):
            actions.decision(None, DONE)

    def test_a_result_that_is_no_json(self) -> None:
        with pytest.raises(HandlerError, match=re.escape("state 'done': the returned value.at is of type object")):
            Actions().decision({"at": object()}, DONE)

    def test_an_undeclared_target(self) -> None:
        actions = Actions()
        actions.go_to("failed")

        message = "the transition to 'failed' is not in the plan: add may_go_to=['failed'] to its handler"
        with pytest.raises(HandlerError, match=re.escape(f"state 'pack': {message}")):
            actions.decision(None, PACK)

    def test_an_undeclared_outcome(self) -> None:
        actions = Actions()
        actions.dispatch_task("box", {}, {"success": "done", "lost": "done"})

        with pytest.raises(HandlerError, match="state 'pack': the outcome 'lost' is not in the plan"):
            actions.decision(None, PACK)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"task_type": 7}, "the task type must be text, not 7"),
            ({"task_type": "a.b"}, "the task type 'a.b' may contain letters, digits, '_' and '-'"),
            ({"params": [1]}, "params must be a dict, a dataclass or a pydantic model, not [1]"),
            ({"params": {"at": float("nan")}}, "params.at is nan, which JSON cannot represent"),
            ({"params": {"list": [{1: 2}]}}, "params.list[0] has the key 1, of type int"),
            ({"transitions": None}, 'transitions must map outcomes to states, as in {"success": "next"}, not None'),
            ({"transitions": {}}, "transitions must map outcomes to states"),
            ({"transitions": {"_enter": "done"}}, "the outcome '_enter' may contain letters"),
            ({"transitions": {"success": 7}}, "the state for 'success' must be text, not 7"),
            ({"priority": 10}, "priority must be a whole number, 0 to 9, not 10"),
            ({"priority": True}, "priority must be a whole number, 0 to 9, not True"),
            ({"max_retries": -1}, "max_retries must be a whole number"),
            ({"max_retries": "3"}, "max_retries must be a whole number"),
            (
                {"dispatch_timeout": 0},
                "dispatch_timeout must be a positive number of seconds or a timedelta, not 0",
            ),
            (
                {"result_timeout": float("inf")},
                "result_timeout must be a positive number of seconds or a timedelta, not inf",
            ),
        ],
    )
    def test_a_task_that_cannot_be_names_thing_and_value(self, options: dict[str, Any], message: str) -> None:
        task: dict[str, Any] = {"task_type": "box", "transitions": {"success": "done"}, **options}

        with pytest.raises(HandlerError, match=re.escape(f"dispatch_task: {message}")):
            Actions().dispatch_task(**task)


class TestAwaited:
    """An async handler may await actions: they are recorded when they are called, awaited or not."""

    ACTIONS: ClassVar[list[tuple[str, dict[str, Any]]]] = [
        ("go_to", {"state": "done"}),
        ("dispatch_task", {"task_type": "box", "transitions": {"success": "done"}}),
        ("dispatch_parallel", {"tasks": [{"task_type": "box"}], "aggregate_into": "gather"}),
        ("wait", {"seconds": 1, "then": "done"}),
        ("wait_for", {"signal": "paid", "transitions": {"received": "done"}}),
        ("await_human_approval", {"integration": "mail", "message": "?", "transitions": {"approved": "done"}}),
        ("run_blueprint", {"name": "other", "transitions": {"success": "done"}}),
        ("run_blueprints", {"blueprints": [{"blueprint": "other"}], "aggregate_into": "gather"}),
    ]

    def test_every_action_is_tried(self) -> None:
        public = {name for name in vars(Actions) if not name.startswith("_")}

        assert {name for name, _ in self.ACTIONS} == public - {"decision"}

    @pytest.mark.parametrize(("method", "arguments"), ACTIONS)
    def test_every_action_can_be_awaited(self, method: str, arguments: dict[str, Any]) -> None:
        awaited, called = Actions(), Actions()

        async def handler() -> Any:
            return await getattr(awaited, method)(**arguments)

        assert asyncio.run(handler()) is None
        getattr(called, method)(**arguments)
        assert awaited._recorded == called._recorded

    def test_an_awaited_action_still_raises_where_it_is_called(self) -> None:
        async def handler(actions: Actions) -> None:
            await actions.go_to("a.b")

        with pytest.raises(HandlerError, match="go_to: the state"):
            asyncio.run(handler(Actions()))


class TestForms:
    def test_a_dataclass_becomes_a_schema_with_its_defaults(self) -> None:
        @dataclass
        class Refund:
            amount: int
            notify: bool = True

        action = asked(Refund)

        assert action.form == {
            "type": "object",
            "properties": {"amount": {"type": "integer"}, "notify": {"type": "boolean", "default": True}},
            "required": ["amount"],
            "additionalProperties": False,
        }

    @pytest.mark.parametrize(
        ("form", "message"),
        [
            (int, "form is annotated with int, but must be a dict, a dataclass"),
            ({"type": "text"}, "form is not a valid JSON Schema"),
            ({"type": "string"}, "form must describe an object, not 'string'"),
        ],
    )
    def test_other_forms_are_refused(self, form: object, message: str) -> None:
        with pytest.raises(HandlerError, match=re.escape(message)):
            asked(form)


def asked(form: object) -> AwaitApproval:
    actions = Actions()
    actions.await_human_approval("desk", "How much?", {"approved": "done"}, form=form)
    state = StatePlan("pack", transitions=(Transition("done", "approved", via=Via.APPROVAL),), dispatches=True)
    return cast(AwaitApproval, actions.decision(None, state))
