"""Blueprint -> Plan: errors with state, line and correction, and the contents of plans."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from avtomatika import Blueprint, F
from avtomatika.core.plan import EndKind, Transition, Via
from avtomatika.errors import BlueprintError


def line_marked(mark: str) -> int:
    """The line of this file that ends with ``# <mark>``."""
    lines = Path(__file__).read_text().splitlines()
    [found] = [number for number, line in enumerate(lines, start=1) if line.endswith(f"# {mark}")]
    return found


@contextmanager
def refused(message: str, *, state: str | None, mark: str | None) -> Iterator[None]:
    """The body raises a BlueprintError of exactly that *message*, *state* and line."""
    with pytest.raises(BlueprintError) as caught:
        yield
    where = "blueprint 'shop'"
    where += f", state {state!r}" if state is not None else ""
    where += f", line {line_marked(mark)}" if mark is not None else ""
    assert str(caught.value) == f"{where}: {message}"


ADVICE = '...", "..."]) with all its possible target states'


def advice(state: str) -> str:
    return f'write @bp.handler("{state}", ..., may_go_to=["{ADVICE}'


@pytest.fixture
def bp() -> Blueprint:
    """A blueprint with an end, and nothing that leads to it."""
    bp = Blueprint("shop")

    @bp.handler(is_end=True)
    def done() -> None: ...

    return bp


class TestStartAndEnds:
    def test_no_start_is_refused(self, bp: Blueprint) -> None:
        message = "has no start: mark the handler of one state with @bp.handler(is_start=True)"
        with refused(message, state=None, mark=None):
            bp.compile()

    def test_two_starts_are_refused(self, bp: Blueprint) -> None:
        @bp.handler(is_start=True)  # first start
        def begin(actions: Any) -> None:
            actions.go_to("done")

        @bp.handler(is_start=True)  # second start
        def other(actions: Any) -> None:
            actions.go_to("done")

        message = f"is a second start: 'begin', line {line_marked('first start')}, is marked is_start=True already"
        with refused(message, state="other", mark="second start"):
            bp.compile()

    def test_a_state_may_be_marked_as_start_by_several_of_its_handlers(self, bp: Blueprint) -> None:
        @bp.handler("begin", F.initial_data.size > 3, is_start=True)
        def large(actions: Any) -> None:
            actions.go_to("done")

        @bp.handler("begin", is_start=True)
        def small(actions: Any) -> None:
            actions.go_to("done")

        assert bp.plan.start == "begin"

    def test_an_end_that_acts_is_refused(self, bp: Blueprint) -> None:
        @bp.handler(is_start=True, is_end=True)
        def begin(actions: Any) -> None:
            actions.go_to("done")  # acting end

        message = "is an end, so its handler must not use actions: remove that, or is_end"
        with refused(message, state="begin", mark="acting end"):
            bp.compile()

    def test_an_end_with_may_go_to_is_refused(self, bp: Blueprint) -> None:
        @bp.handler(is_start=True, is_end=True, may_go_to=["done"])  # leading end
        def begin() -> None: ...

        with refused("is an end, so it cannot have may_go_to", state="begin", mark="leading end"):
            bp.compile()

    def test_a_state_with_two_kinds_of_end_is_refused(self, bp: Blueprint) -> None:
        @bp.handler("begin", F.initial_data.size > 3, is_start=True, is_end=True)  # finished end
        def large() -> None: ...

        @bp.handler("begin", is_end="failed")  # failed end
        def small() -> None: ...

        message = f"is_end is 'failed' here, but 'finished' in line {line_marked('finished end')}; a state has one"
        with refused(message, state="begin", mark="failed end"):
            bp.compile()

    def test_one_state_can_be_the_whole_blueprint(self) -> None:
        bp = Blueprint("shop")

        @bp.handler(is_start=True, is_end=True)
        def everything() -> None: ...

        assert bp.plan.states["everything"].end is EndKind.FINISHED


class TestWays:
    def test_a_transition_to_an_unknown_state_is_refused_with_the_nearest_name(self, bp: Blueprint) -> None:
        @bp.handler(is_start=True)
        def begin(actions: Any) -> None:
            actions.go_to("doen")  # misspelt

        message = "a transition leads to the unknown state 'doen'; did you mean 'done'?"
        with refused(message, state="begin", mark="misspelt"):
            bp.compile()

    def test_a_transition_to_an_unknown_state_is_refused_with_all_names(self, bp: Blueprint) -> None:
        @bp.handler(is_start=True)
        def begin(actions: Any) -> None:
            actions.dispatch_task(
                "pack",
                transitions={
                    "success": "done",
                    "failure": "xyz",  # unknown
                },
            )

        message = "a transition leads to the unknown state 'xyz'; known are done, begin"
        with refused(message, state="begin", mark="unknown"):
            bp.compile()

    def test_a_transition_to_a_function_is_refused(self, bp: Blueprint) -> None:
        @bp.handler(is_start=True)
        def begin(actions: Any) -> None:
            actions.go_to(line_marked)  # function

        message = "a transition leads to line_marked; write the name of the state as text"
        with refused(message, state="begin", mark="function"):
            bp.compile()

    def test_an_unreachable_state_is_refused(self, bp: Blueprint) -> None:
        @bp.handler(is_start=True)
        def begin(actions: Any) -> None:
            actions.go_to("done")

        @bp.handler  # island
        def island(actions: Any) -> None:
            actions.go_to("done")

        message = "is unreachable: no transition leads to it from the start 'begin'"
        with refused(message, state="island", mark="island"):
            bp.compile()

    def test_a_retired_state_and_what_it_leads_to_need_not_be_reached(self) -> None:
        bp = Blueprint("shop")

        @bp.handler(is_start=True)
        def begin(actions: Any) -> None:
            actions.dispatch_task("work", transitions={"success": "done"})

        @bp.handler("done")
        @bp.handler("old", retired=True)
        def done(actions: Any) -> None:
            actions.go_to("end")

        @bp.handler(retired=True)
        def older(actions: Any) -> None:
            actions.go_to("old")

        @bp.handler(is_end=True)
        def end() -> None: ...

        states = bp.compile().states

        assert [name for name, state in states.items() if state.is_retired] == ["old", "older"]

    def test_a_retired_state_that_jobs_still_enter_is_refused(self) -> None:
        bp = Blueprint("shop")

        @bp.handler(is_start=True)
        def begin(actions: Any) -> None:
            actions.go_to("old")

        @bp.handler(is_end=True, retired=True)  # retired
        def old() -> None: ...

        message = "is retired, but 'begin' leads to it: change that, or remove retired=True"
        with refused(message, state="old", mark="retired"):
            bp.compile()

    def test_a_limit_of_transitions_is_a_number_from_one(self) -> None:
        with pytest.raises(BlueprintError, match="max_transitions must be a whole number of at least 1, not 0"):
            Blueprint("video", max_transitions=0)

    def test_a_state_that_takes_no_action_is_refused(self, bp: Blueprint) -> None:
        @bp.handler(is_start=True)  # idle
        def begin(initial_data: Any) -> None: ...

        message = "has no transition: call actions.go_to(...) or actions.dispatch_task(...), or mark it is_end=True"
        with refused(message, state="begin", mark="idle"):
            bp.compile()

    def test_a_circle_without_an_end_is_refused(self, bp: Blueprint) -> None:
        @bp.handler(is_start=True)
        def begin(actions: Any, initial_data: Any) -> None:
            actions.go_to("round" if initial_data else "done")

        @bp.handler("round")  # circle
        def go_round(actions: Any) -> None:
            actions.go_to("round")

        message = "cannot reach an end: mark a state that it leads to with is_end=True"
        with refused(message, state="round", mark="circle"):
            bp.compile()

    def test_two_bare_handlers_are_refused(self, bp: Blueprint) -> None:
        @bp.handler("begin", is_start=True)  # bare
        def one(actions: Any) -> None:
            actions.go_to("done")

        @bp.handler("begin")  # bare again
        def two(actions: Any) -> None:
            actions.go_to("done")

        line = line_marked("bare")
        message = (
            f"a second handler without a condition: the one in line {line} always decides first; remove one of them"
        )
        with refused(message, state="begin", mark="bare again"):
            bp.compile()

    def test_two_handlers_with_the_same_condition_are_refused(self, bp: Blueprint) -> None:
        @bp.handler("begin", F.initial_data.size > 3, is_start=True)  # guarded
        def one(actions: Any) -> None:
            actions.go_to("done")

        @bp.handler("begin", F.initial_data.size > 3)  # guarded again
        def two(actions: Any) -> None:
            actions.go_to("done")

        line = line_marked("guarded")
        message = f"a second handler for size > 3: the one in line {line} always decides first; remove one of them"
        with refused(message, state="begin", mark="guarded again"):
            bp.compile()

    def test_a_state_with_two_queues_is_refused(self, bp: Blueprint) -> None:
        @bp.handler("begin", F.initial_data.size > 3, is_start=True, queue="heavy")  # heavy queue
        def one(actions: Any) -> None:
            actions.go_to("done")

        @bp.handler("begin", queue="light")  # light queue
        def two(actions: Any) -> None:
            actions.go_to("done")

        message = f"queue is 'light' here, but 'heavy' in line {line_marked('heavy queue')}; a state has one"
        with refused(message, state="begin", mark="light queue"):
            bp.compile()


class TestActions:
    def test_an_unknown_action_is_refused(self, bp: Blueprint) -> None:
        @bp.handler(is_start=True)
        def begin(actions: Any) -> None:
            actions.goto("done")  # no such action

        there_are = "go_to, dispatch_task, dispatch_parallel, wait, wait_for, await_human_approval, run_blueprint"
        there_are += ", run_blueprints"
        message = f"actions has no 'goto'; it has {there_are}"
        with refused(message, state="begin", mark="no such action"):
            bp.compile()

    def test_go_to_nowhere_is_refused(self, bp: Blueprint) -> None:
        @bp.handler(is_start=True)
        def begin(actions: Any) -> None:
            actions.go_to()  # nowhere

        with refused("go_to needs the name of a state", state="begin", mark="nowhere"):
            bp.compile()

    def test_a_dispatch_without_transitions_is_refused(self, bp: Blueprint) -> None:
        @bp.handler(is_start=True)
        def begin(actions: Any) -> None:
            actions.dispatch_task("pack", {"size": 1})  # no transitions

        message = 'dispatch_task without transitions: map its outcomes to states, as in transitions={"success": "next"}'
        with refused(message, state="begin", mark="no transitions"):
            bp.compile()

    def test_a_dispatch_without_a_transition_for_success_is_refused(self, bp: Blueprint) -> None:
        @bp.handler(is_start=True)
        def begin(actions: Any) -> None:
            actions.dispatch_task("pack", transitions={"failure": "done"})  # no success

        message = "dispatch_task has no transition for 'success': map it to the next state"
        with refused(message, state="begin", mark="no success"):
            bp.compile()

    def test_transitions_that_are_no_dict_are_refused(self, bp: Blueprint) -> None:
        @bp.handler(is_start=True, may_go_to=["done"])
        def begin(actions: Any) -> None:
            actions.dispatch_task("pack", transitions="done")  # no dict

        message = "transitions must be a dict of outcomes to states"
        with refused(message, state="begin", mark="no dict"):
            bp.compile()

    def test_an_outcome_of_ours_is_refused(self, bp: Blueprint) -> None:
        @bp.handler(is_start=True)
        def begin(actions: Any) -> None:
            actions.dispatch_task("pack", transitions={"success": "done", "_enter": "done"})  # reserved

        message = "the outcome '_enter' must be a name: letters, digits, '_' and '-', at most 64, not starting with '_'"
        with refused(message, state="begin", mark="reserved"):
            bp.compile()

    @pytest.mark.parametrize("given", ["a.b", 7])
    def test_a_task_type_that_is_no_name_is_refused(self, bp: Blueprint, given: object) -> None:
        @bp.handler(is_start=True)
        def begin(actions: Any) -> None:
            actions.dispatch_task(given, transitions={"success": "done"})  # task type

        message = (
            f"the task type {given!r} must be a name: letters, digits, '_' and '-', at most 64, not starting with '_'"
        )
        with refused(message, state="begin", mark="task type"):
            bp.compile()

    def test_a_dispatch_without_a_task_type_is_refused(self, bp: Blueprint) -> None:
        @bp.handler(is_start=True)
        def begin(actions: Any) -> None:
            actions.dispatch_task(transitions={"success": "done"})  # untyped

        with refused("dispatch_task needs a task type", state="begin", mark="untyped"):
            bp.compile()

    def test_a_positional_only_parameter_is_refused(self, bp: Blueprint) -> None:
        @bp.handler(is_start=True)  # positional
        def begin(initial_data: Any, /, actions: Any) -> None:
            actions.go_to("done")

        rule = "handlers are called with keyword arguments: remove '/'"
        message = f"its parameter 'initial_data' is positional-only, but {rule}"
        with refused(message, state="begin", mark="positional"):
            bp.compile()


class TestMayGoTo:
    """Targets that the source does not show must be declared."""

    def test_a_computed_target_is_refused(self, bp: Blueprint) -> None:
        @bp.handler(is_start=True)
        def begin(actions: Any, initial_data: Any) -> None:
            actions.go_to(initial_data["next"])  # computed

        with refused(f"the target is computed at run time: {advice('begin')}", state="begin", mark="computed"):
            bp.compile()

    def test_computed_transitions_are_refused(self, bp: Blueprint) -> None:
        @bp.handler(is_start=True)
        def begin(actions: Any) -> None:
            actions.dispatch_task("pack", transitions=dict(success="done"))  # noqa: C408 # computed dict

        message = f"the transitions are computed at run time: {advice('begin')}"
        with refused(message, state="begin", mark="computed dict"):
            bp.compile()

    def test_actions_passed_on_are_refused(self, bp: Blueprint) -> None:
        @bp.handler(is_start=True)
        def begin(actions: Any) -> None:
            print(actions)  # passed on

        how = "actions is used other than by calling its methods"
        message = f"{how}, so its transitions cannot be read: {advice('begin')}"
        with refused(message, state="begin", mark="passed on"):
            bp.compile()

    def test_a_handler_without_source_is_refused(self, bp: Blueprint) -> None:
        scope: dict[str, Any] = {}
        exec("def begin(actions): actions.go_to('done')", scope)  # noqa: S102 - this is how one gets no source
        bp.handler(is_start=True)(scope["begin"])

        with pytest.raises(BlueprintError, match="the source of its handler cannot be read: write"):
            bp.compile()

    def test_an_unknown_state_in_it_is_refused(self, bp: Blueprint) -> None:
        @bp.handler(is_start=True, may_go_to=["don"])  # unknown in may_go_to
        def begin(actions: Any, initial_data: Any) -> None:
            actions.go_to(initial_data["next"])

        message = "a transition leads to the unknown state 'don'; did you mean 'done'?"
        with refused(message, state="begin", mark="unknown in may_go_to"):
            bp.compile()

    @pytest.mark.parametrize(
        "decide",
        [
            lambda actions, initial_data: actions.go_to(initial_data["next"]),
            lambda actions: actions.go_to("done"),
            lambda context: context.actions.go_to("done"),
        ],
    )
    def test_declares_what_cannot_be_read(self, bp: Blueprint, decide: Callable[..., None]) -> None:
        bp.handler("begin", is_start=True, may_go_to=["done"])(decide)

        state = bp.plan.states["begin"]
        assert state.transitions == (Transition("done"),)
        assert state.may_go_to == ("done",)
        assert state.dispatches

    def test_gives_computed_targets_their_outcome(self, bp: Blueprint) -> None:
        @bp.handler(is_start=True, may_go_to=["done", "other"])
        def begin(actions: Any, initial_data: Any) -> None:
            actions.dispatch_task("pack", transitions={"success": initial_data["next"], "failure": "done"})

        @bp.handler
        def other(actions: Any) -> None:
            actions.go_to("done")

        assert set(bp.plan.states["begin"].transitions) == {
            Transition("done", "success", "pack", via=Via.TASK),
            Transition("other", "success", "pack", via=Via.TASK),
            Transition("done", "failure", "pack", via=Via.TASK),
        }


class TestPlan:
    def test_keeps_what_belongs_to_a_state(self, bp: Blueprint) -> None:
        @bp.handler("begin", F.initial_data.size > 3, is_start=True)
        def large(actions: Any) -> None:
            actions.dispatch_task("saw", transitions={"success": "done"})

        @bp.handler("begin", queue="heavy")
        def small(actions: Any) -> None:
            actions.dispatch_task("file", transitions={"success": "done", "bent": "begin"})

        begin = bp.plan.states["begin"]
        assert (begin.queue, begin.is_start, begin.end, begin.dispatches) == ("heavy", True, None, True)
        assert begin.task_types == ("file", "saw")
        assert begin.guards == ("size > 3",)
        assert begin.transitions == (
            Transition("done", "success", "saw", "size > 3", via=Via.TASK),
            Transition("done", "success", "file", via=Via.TASK),
            Transition("begin", "bent", "file", via=Via.TASK),
        )
        assert bp.plan.task_types == ("file", "saw")
        assert next(bp.plan.edges()) == ("begin", begin.transitions[0])

    def test_is_made_once_until_a_handler_is_added(self, bp: Blueprint) -> None:
        @bp.handler(is_start=True)
        def begin(actions: Any) -> None:
            actions.go_to("done")

        first = bp.plan

        assert bp.compile() is first
        bp.handler("begin", F.job_id == "g0-1")(begin)
        assert bp.compile() is not first

    def test_carries_the_names_of_the_api(self) -> None:
        bp = Blueprint("shop", api_version="v2", api_endpoint="jobs/shop")
        bp.handler("all", is_start=True, is_end=True)(lambda: None)

        assert (bp.plan.api_version, bp.plan.api_endpoint) == ("v2", "jobs/shop")


def test_the_message_of_a_refusal_has_the_line_for_programs_too(bp: Blueprint) -> None:
    @bp.handler(is_start=True)
    def begin(actions: Any) -> None:
        actions.go_to("nowhere-at-all")  # for programs

    with pytest.raises(BlueprintError, match=re.escape("nowhere-at-all")) as caught:
        bp.compile()

    assert (caught.value.blueprint, caught.value.state) == ("shop", "begin")
    assert caught.value.line == line_marked("for programs")
