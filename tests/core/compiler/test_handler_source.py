"""Transitions are read from the source: what counts as readable, and what does not."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import pytest

from avtomatika.core.blueprint.handler import Handler
from avtomatika.core.compiler.handler_source import ActionCall, SourceReading, read

NEXT = "next"
TASK = "pack"
AFTER = {"success": NEXT, "failure": "failed"}


class States(StrEnum):
    NEXT = "next"


def reading(function: Callable[..., Any]) -> SourceReading:
    found = read(Handler(function, "begin"))
    assert found is not None
    return found


def call(function: Callable[..., Any]) -> ActionCall:
    [only] = reading(function).calls
    return only


def targets(function: Callable[..., Any]) -> tuple[object, ...] | None:
    """Return all targets of the only ``go_to`` in *function*; None if they are computed."""
    edges = call(function).edges
    assert edges is not None
    [edge] = edges
    return edge.targets


def pairs(function: Callable[..., Any]) -> list[tuple[Any, Any]] | None:
    """Return all (outcomes, targets) of the only ``dispatch_task`` in *function*; None if they are computed."""
    edges = call(function).edges
    return None if edges is None else [(edge.outcomes, edge.targets) for edge in edges]


class TestTargets:
    def test_can_be_literal(self) -> None:
        def begin(actions: Any) -> None:
            actions.go_to("next")

        assert targets(begin) == ("next",)

    def test_can_be_given_by_keyword(self) -> None:
        def begin(actions: Any) -> None:
            actions.go_to(state="next")

        assert targets(begin) == ("next",)

    def test_can_be_a_constant_of_the_module(self) -> None:
        def begin(actions: Any) -> None:
            actions.go_to(NEXT)

        assert targets(begin) == ("next",)

    def test_can_be_a_constant_of_a_class(self) -> None:
        def begin(actions: Any) -> None:
            actions.go_to(States.NEXT)

        assert targets(begin) == ("next",)

    def test_can_be_closed_over(self) -> None:
        there = "next"

        def begin(actions: Any) -> None:
            actions.go_to(there)

        assert targets(begin) == ("next",)

    def test_can_be_a_conditional_expression(self) -> None:
        def begin(actions: Any, size: int) -> None:
            actions.go_to("small" if size < 3 else "large" if size < 9 else NEXT)

        assert targets(begin) == ("small", "large", "next")

    def test_can_be_chosen_by_if_and_else(self) -> None:
        def begin(actions: Any, size: int) -> None:
            if size < 3:
                target = "small"
                print(target)
            else:
                target = NEXT
            actions.go_to(target)

        assert targets(begin) == ("small", "next")

    def test_can_be_named_on_the_way(self) -> None:
        def begin(actions: Any) -> None:
            first: str = "next"
            print(second := first)
            actions.go_to(second)

        assert targets(begin) == ("next",)

    def test_can_be_in_an_async_function(self) -> None:
        async def begin(actions: Any) -> None:
            actions.go_to("next")

        assert targets(begin) == ("next",)

    def test_are_found_behind_a_decorator(self) -> None:
        def shouting(function: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(function)
            def shout(**arguments: Any) -> Any:
                return function(**arguments)

            return shout

        @shouting
        def begin(actions: Any) -> None:
            actions.go_to("next")

        assert targets(begin) == ("next",)

    def test_are_found_in_a_method(self) -> None:
        class Shop:
            def begin(self, actions: Any) -> None:
                actions.go_to("next")

        assert targets(Shop().begin) == ("next",)

    def test_are_found_by_the_context(self) -> None:
        def begin(context: Any) -> None:
            print(context.job_id)
            context.actions.go_to("next")

        assert targets(begin) == ("next",)
        assert not reading(begin).hidden

    def test_are_all_found_with_their_lines(self) -> None:
        def begin(actions: Any, size: int) -> None:
            if size < 3:
                return actions.go_to("small")
            return actions.go_to("large")

        first = begin.__code__.co_firstlineno
        assert [found.line for found in reading(begin).calls] == [first + 2, first + 3]

    def test_are_computed_by_a_call(self) -> None:
        def begin(actions: Any) -> None:
            actions.go_to(str(1))

        assert targets(begin) is None

    def test_are_computed_from_a_parameter(self) -> None:
        def begin(actions: Any, target: str = "next") -> None:
            actions.go_to(target)

        assert targets(begin) is None

    def test_are_computed_where_a_name_gets_other_values_too(self) -> None:
        def begin(actions: Any) -> None:
            target = "next"
            for target in ("a", "b"):  # noqa: B007 - what it leaves behind is the point
                pass
            actions.go_to(target)

        assert targets(begin) is None

    def test_are_computed_from_what_a_comprehension_names(self) -> None:
        def begin(actions: Any) -> None:
            [actions.go_to(NEXT) for NEXT in ("a", "b")]

        assert targets(begin) is None

    def test_are_computed_from_a_global_that_it_sets(self) -> None:
        def begin(actions: Any) -> None:
            global NEXT
            actions.go_to(NEXT)
            NEXT = "other"

        assert targets(begin) is None

    def test_are_computed_from_a_name_that_means_itself(self) -> None:
        def begin(actions: Any) -> None:
            target = other = "next"
            target = other
            other = target
            actions.go_to(target)

        assert targets(begin) is None

    def test_are_computed_from_starred_arguments(self) -> None:
        def begin(actions: Any, where: Any) -> None:
            actions.go_to(*where)

        assert targets(begin) is None


class TestTransitions:
    def test_can_be_positional(self) -> None:
        def begin(actions: Any) -> None:
            actions.dispatch_task("pack", {}, {"success": "next", "failure": NEXT})

        assert pairs(begin) == [(("success",), ("next",)), (("failure",), ("next",))]
        assert call(begin).names == ("pack",)

    def test_can_be_a_constant(self) -> None:
        def begin(actions: Any) -> None:
            actions.dispatch_task(TASK, transitions=AFTER)

        assert pairs(begin) == [(("success",), ("next",)), (("failure",), ("failed",))]
        assert call(begin).names == ("pack",)

    def test_can_extend_others(self) -> None:
        def begin(actions: Any) -> None:
            actions.dispatch_task(TASK, transitions={**AFTER, "bent": "next"})

        assert pairs(begin) == [(("success",), ("next",)), (("failure",), ("failed",)), (("bent",), ("next",))]

    def test_can_be_chosen(self) -> None:
        def begin(actions: Any, size: int) -> None:
            transitions = {"success": "next" if size < 3 else "large"}
            if size > 9:
                transitions = AFTER
            actions.dispatch_task("pack" if size < 3 else "crate", transitions=transitions)

        assert pairs(begin) == [
            (("success",), ("next", "large")),
            (("success",), ("next",)),
            (("failure",), ("failed",)),
        ]
        assert call(begin).names == ("pack", "crate")

    def test_are_computed_where_a_dict_is_changed(self) -> None:
        def begin(actions: Any) -> None:
            transitions = {"success": "next"}
            transitions["failure"] = "failed"
            actions.dispatch_task("pack", transitions=transitions)

        assert pairs(begin) is None

    def test_are_computed_where_an_outcome_is(self) -> None:
        def begin(actions: Any, word: str) -> None:
            actions.dispatch_task("pack", transitions={word: "next"})

        assert pairs(begin) is None

    def test_are_computed_from_unpacked_keywords(self) -> None:
        def begin(actions: Any, options: Mapping[str, Any]) -> None:
            actions.dispatch_task("pack", **options)

        assert pairs(begin) is None

    def test_leave_a_computed_target_open(self) -> None:
        def begin(actions: Any, target: str) -> None:
            actions.dispatch_task("pack", transitions={"success": target})

        assert pairs(begin) == [(("success",), None)]

    def test_task_types_may_be_computed(self) -> None:
        def begin(actions: Any, task: str) -> None:
            actions.dispatch_task(task, transitions=AFTER)

        assert call(begin).names is None


class TestHidden:
    """Uses of ``actions`` that could call an action which the compiler does not see."""

    def test_passed_on(self) -> None:
        def begin(actions: Any) -> None:
            print(actions)

        assert reading(begin).hidden[0][0] == begin.__code__.co_firstlineno + 1

    def test_under_another_name(self) -> None:
        def begin(actions: Any) -> None:
            act = actions
            act.go_to("next")

        assert "actions is used other than by calling its methods" in reading(begin).hidden[0][1]

    def test_a_method_for_later(self) -> None:
        def begin(actions: Any) -> None:
            move = actions.go_to
            move("next")

        assert reading(begin).hidden

    def test_in_an_inner_function(self) -> None:
        def begin(actions: Any) -> None:
            def move(state: str) -> None:
                actions.go_to(state)

            move("next")

        assert "actions is used in an inner function" in reading(begin).hidden[0][1]
        assert not reading(begin).calls

    @pytest.mark.parametrize("position", [0, 1])
    def test_the_context_passed_on(self, position: int) -> None:
        def whole(context: Any) -> None:
            print(context)

        def part(context: Any) -> None:
            print(context.actions)

        assert reading([whole, part][position]).hidden

    def test_nothing_is_hidden_where_actions_is_no_parameter(self) -> None:
        def begin(initial_data: Any) -> None:
            actions = initial_data
            print(actions)

        assert reading(begin) == SourceReading()


class TestNoSource:
    def test_a_builtin(self) -> None:
        assert read(Handler(functools.partial(print), "begin")) is None

    def test_text_that_was_executed(self) -> None:
        scope: dict[str, Any] = {}
        exec("def begin(actions): ...", scope)  # noqa: S102 - this is how one gets no source

        assert read(Handler(scope["begin"], "begin")) is None

    def test_a_lambda(self) -> None:
        assert read(Handler(lambda actions: actions.go_to("next"), "begin")) is None
