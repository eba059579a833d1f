"""Checks at run time that a handler's decision is part of the plan that was declared to the broker."""

from collections.abc import Iterable, Mapping
from itertools import chain

from avtomatika.core.plan import BUILTIN_OUTCOMES, StatePlan, Via
from avtomatika.errors import HandlerError

from .action_types import Action, AwaitApproval, DispatchTask, End, FanOut, GoTo, RunBlueprint, Wait, WaitFor

_VIAS: Mapping[type[Action], Via] = {
    **{DispatchTask: Via.TASK, WaitFor: Via.SIGNAL},
    **{AwaitApproval: Via.APPROVAL, RunBlueprint: Via.CHILD},
}
#: A transition: kind of action, outcome, target state.
_Edge = tuple[Via, str | None, str]


def check_declared(action: Action, state: StatePlan) -> None:
    """Raise HandlerError for an outcome or a target state that the plan does not contain."""
    declared = {(edge.via, edge.outcome, edge.target) for edge in state.transitions}
    outcomes = {outcome for via, outcome, _ in declared if via is Via.TASK}.union(BUILTIN_OUTCOMES)
    for via, outcome, target in set(_edges(action)):
        if via is Via.TASK and outcome not in outcomes:
            raise HandlerError(
                f"the outcome {outcome!r} is not in the plan: write it as a literal in dispatch_task(transitions=...)"
            )
        if (via, outcome, target) not in declared and target not in state.may_go_to:
            raise HandlerError(
                f"the transition to {target!r} is not in the plan: add may_go_to=[{target!r}] to its handler"
            )


def call_text(action: Action) -> str:
    """Return *action* as it is written in a handler."""
    match action:
        case GoTo(state):
            return f"go_to({state!r})"
        case DispatchTask(task_type):
            return f"dispatch_task({task_type!r})"
        case FanOut(branches, aggregator):
            return f"dispatch_parallel of {len(branches)} branches into {aggregator!r}"
        case Wait(then):
            return f"wait(then={then!r})"
        case WaitFor(signal):
            return f"wait_for({signal!r})"
        case AwaitApproval(integration):
            return f"await_human_approval({integration!r})"
        case RunBlueprint(name):
            return f"run_blueprint({name!r})"
        case End():
            return "end"


def _edges(action: Action) -> Iterable[_Edge]:
    match action:
        case GoTo(target):
            return [(Via.GO_TO, None, target)]
        case FanOut(branches, aggregator):
            outcomes = chain(*(branch.transitions.items() for branch in branches))
            return {(Via.TASK, "success", aggregator), *((Via.TASK, outcome, target) for outcome, target in outcomes)}
        case Wait(target):
            return [(Via.WAIT, None, target)]
        case End():
            return ()
        case _:
            return [(_VIAS[type(action)], outcome, target) for outcome, target in action.transitions.items()]
