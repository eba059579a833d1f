"""The transitions and task types of a handler, from its source or from ``may_go_to``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from avtomatika.core.blueprint import arguments
from avtomatika.core.blueprint.actions import ACTIONS
from avtomatika.core.blueprint.handler import Handler
from avtomatika.core.job_request import Json
from avtomatika.core.names import is_user_name
from avtomatika.core.plan import CHILD_OUTCOMES, SIGNAL_OUTCOMES, SignalTypes, Transition, Via
from avtomatika.errors import BlueprintError, HandlerError

from .handler_source import ActionCall, ActionEdge, SourceReading, definition_of, read
from .source_checks import Mistake, unknown_inputs
from .spelling import suggestion

if TYPE_CHECKING:
    from avtomatika.core.blueprint.blueprint import Blueprint

#: Errors for actions without a required argument.
_NEEDS = {
    "go_to": "go_to needs the name of a state",
    "wait": "wait needs the next state: then=...",
    "dispatch_parallel": "dispatch_parallel needs the state that joins the results: aggregate_into=...",
    "run_blueprints": "run_blueprints needs the state that joins the results: aggregate_into=...",
    "dispatch_task": (
        'dispatch_task without transitions: map its outcomes to states, as in transitions={"success": "next"}'
    ),
    "await_human_approval": (
        "await_human_approval without transitions: map decisions to states, as in "
        'transitions={"approved": "next", "rejected": "failed"}'
    ),
    "wait_for": ('wait_for without transitions: map its outcomes to states, as in transitions={"received": "next"}'),
    "run_blueprint": (
        'run_blueprint without transitions: map its outcomes to states, as in transitions={"success": "next"}'
    ),
}
_NAME_RULE = "letters, digits, '_' and '-', at most 64, not starting with '_'"


@dataclass(frozen=True, slots=True)
class HandlerPaths:
    """Everything that a handler can decide. ``first_action_line`` is the line of its first action, None without any;
    ``undecided_line`` is the end of a path without an action, None if every path may take one."""

    transitions: tuple[Transition, ...] = ()
    task_types: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    signals: SignalTypes = ()
    dispatches: bool = False
    first_action_line: int | None = None
    undecided_line: int | None = None


def paths_of(blueprint: Blueprint, handler: Handler) -> HandlerPaths:
    """Return the paths of *handler*. Raise BlueprintError for actions that are invalid or cannot be read."""
    for parameter in handler.parameters:
        if parameter.kind is parameter.POSITIONAL_ONLY:
            name = f"its parameter {parameter.name!r}"
            message = f"{name} is positional-only, but handlers are called with keyword arguments: remove '/'"
            raise refusal(blueprint, handler, message)
    for target in handler.may_go_to:
        _check_target(blueprint, handler, target, handler.line)
    source = definition_of(handler)
    if source is not None:
        _refuse_first(blueprint, handler, list(unknown_inputs(blueprint.input, handler, source[1])))
    reading = read(handler)
    if reading is None:
        return _without_source(blueprint, handler)
    return _by_source(blueprint, handler, reading)


def is_aggregator(blueprint: Blueprint, state: str) -> bool:
    """Return True if *state* joins parallel tasks."""
    return any(handler.is_aggregator for handler in blueprint.handlers.get(state, ()))


def refusal(blueprint: Blueprint, handler: Handler, message: str, line: int | None = None) -> BlueprintError:
    """Return a BlueprintError that points to *handler*, or to *line* in it."""
    return BlueprintError(message, blueprint=blueprint.name, state=handler.state, line=line or handler.line)


def _without_source(blueprint: Blueprint, handler: Handler) -> HandlerPaths:
    """Use ``may_go_to`` only."""
    acts = any(parameter.name in ("actions", "context") for parameter in handler.parameters)
    if not acts:
        return HandlerPaths()
    if handler.end is None and not handler.may_go_to:
        raise refusal(blueprint, handler, f"the source of its handler cannot be read: {_advice(handler)}")
    unknown = () if handler.end is not None else ((None, None),)
    return HandlerPaths(_declared_transitions(handler), signals=unknown, dispatches=handler.end is None)


def _by_source(blueprint: Blueprint, handler: Handler, reading: SourceReading) -> HandlerPaths:
    if reading.hidden and not handler.may_go_to:
        line, reason = reading.hidden[0]
        raise refusal(blueprint, handler, f"{reason}, so its transitions cannot be read: {_advice(handler)}", line)
    _refuse_first(blueprint, handler, reading.mistakes.names)
    transitions: list[Transition] = []
    names: dict[Via, list[str]] = {via: [] for via in Via}
    signals: list[tuple[str | None, Json]] = [(None, None)] if reading.hidden else []
    for call in reading.calls:
        if (problem := _problem(handler, call)) is not None:
            raise refusal(blueprint, handler, problem, call.line)
        _check_collected(blueprint, handler, call)
        via, started = ACTIONS[call.method], _started_names(blueprint, handler, call)
        names[via].extend(filter(None, started))
        if via is Via.SIGNAL:
            signals += product(started, _schemas(blueprint, handler, call))
        names[Via.CHILD].extend(_checked_names(blueprint, handler, call, "blueprint", call.children or ()))
        for edge in call.edges or ():
            for plain in _transitions(blueprint, handler, edge, started if via is Via.TASK else (None,)):
                transitions.append(replace(plain, via=via))
    _refuse_first(blueprint, handler, reading.mistakes.values)
    is_open = any(call.edges is None or call.may_have_more for call in reading.calls)
    if reading.hidden or is_open or not transitions:
        transitions.extend(_declared_transitions(handler))
    lines = [call.line for call in reading.calls] + [line for line, _ in reading.hidden]
    return HandlerPaths(
        transitions=tuple(dict.fromkeys(transitions)),
        task_types=tuple(dict.fromkeys(names[Via.TASK])),
        children=tuple(dict.fromkeys(names[Via.CHILD])),
        signals=tuple(signals),
        dispatches=bool(reading.hidden) or any(ACTIONS[call.method] is Via.TASK for call in reading.calls),
        first_action_line=min(lines, default=None),
        undecided_line=reading.undecided_line,
    )


def _refuse_first(blueprint: Blueprint, handler: Handler, mistakes: Sequence[Mistake]) -> None:
    if mistakes:
        line, message = mistakes[0]
        raise refusal(blueprint, handler, message, line)


def _problem(handler: Handler, call: ActionCall) -> str | None:
    """Return the error in a call as a whole."""
    if call.method not in ACTIONS:
        return f"actions has no {call.method!r}; it has {', '.join(ACTIONS)}"
    if call.edges is None:
        return None if handler.may_go_to else f"the transitions are computed at run time: {_advice(handler)}"
    if not call.edges:
        return _NEEDS[call.method]
    best = "received" if call.method == "wait_for" else "success"
    leads_on = any(best in (edge.outcomes or ()) for edge in call.edges)
    if call.method in ("dispatch_task", "run_blueprint", "wait_for") and not handler.may_go_to and not leads_on:
        return f"{call.method} has no transition for {best!r}: map it to the next state"
    known = {"run_blueprint": CHILD_OUTCOMES, "wait_for": SIGNAL_OUTCOMES}.get(call.method)
    return None if known is None else _unknown_outcome(call.method, call.edges, known)


def _unknown_outcome(method: str, edges: Iterable[ActionEdge], known: Sequence[str]) -> str | None:
    """Return the error in transitions of an action that has only the *known* outcomes."""
    for outcome in (outcome for edge in edges for outcome in edge.outcomes or ()):
        if outcome not in known and is_user_name(outcome):
            return f"{method} has no outcome {outcome!r}; it has {', '.join(known)}"
    return None


def _check_collected(blueprint: Blueprint, handler: Handler, call: ActionCall) -> None:
    """Check that the target of parallel tasks is an aggregator."""
    if call.method not in ("dispatch_parallel", "run_blueprints") or not call.edges:
        return
    collector = call.edges[0]
    for target in collector.targets or ():
        name = _check_target(blueprint, handler, target, collector.line)
        if not is_aggregator(blueprint, name):
            message = (
                f"{call.method} leads to {name!r}, which is not an aggregator: mark its handler with @bp.aggregator"
            )
            raise refusal(blueprint, handler, message, collector.line)


def _started_names(blueprint: Blueprint, handler: Handler, call: ActionCall) -> tuple[str | None, ...]:
    """Return the task types, the blueprint or the signal of *call*; None for a computed one, or if there is none."""
    what = {"dispatch_task": "task type", "dispatch_parallel": "task type"}
    what |= {"run_blueprint": "blueprint", "wait_for": "signal"}
    if call.names is None or call.method not in what:
        return (None,)
    if not call.names:
        raise refusal(blueprint, handler, f"{call.method} needs a {what[call.method]}", call.line)
    return _checked_names(blueprint, handler, call, what[call.method], call.names)


def _checked_names(
    blueprint: Blueprint, handler: Handler, call: ActionCall, what: str, names: Iterable[object]
) -> tuple[str, ...]:
    for name in names:
        if not is_user_name(name):
            message = f"the {what} {name!r} must be a name: {_NAME_RULE}"
            raise refusal(blueprint, handler, message, call.line)
    return tuple(str(name) for name in names)


def _schemas(blueprint: Blueprint, handler: Handler, call: ActionCall) -> Iterator[Json]:
    """Yield the JSON Schemas of the signal that *call* waits for, None for a computed one or none."""
    for each in call.schemas or (None,):
        try:
            yield arguments.form(each, "wait_for: schema")
        except HandlerError as error:
            raise refusal(blueprint, handler, str(error), call.line) from None


def _transitions(
    blueprint: Blueprint, handler: Handler, edge: ActionEdge, task_types: Iterable[str | None]
) -> Iterator[Transition]:
    outcomes = (None,) if edge.outcomes is None else tuple(_outcomes(blueprint, handler, edge))
    if edge.targets is None and not handler.may_go_to:
        raise refusal(blueprint, handler, f"the target is computed at run time: {_advice(handler)}", edge.line)
    for target in handler.may_go_to if edge.targets is None else edge.targets:
        name = _check_target(blueprint, handler, target, edge.line)
        for outcome, task_type in product(outcomes, task_types):
            yield Transition(name, outcome, task_type, guard=_guard(handler))


def _outcomes(blueprint: Blueprint, handler: Handler, edge: ActionEdge) -> Iterator[str]:
    if edge.targets == ():
        raise refusal(blueprint, handler, "transitions must be a dict of outcomes to states", edge.line)
    for outcome in edge.outcomes or ():
        if not is_user_name(outcome):
            raise refusal(blueprint, handler, f"the outcome {outcome!r} must be a name: {_NAME_RULE}", edge.line)
        yield str(outcome)


def _check_target(blueprint: Blueprint, handler: Handler, target: object, line: int | None) -> str:
    if not isinstance(target, str):
        shown = getattr(target, "__qualname__", repr(target))
        raise refusal(blueprint, handler, f"a transition leads to {shown}; write the name of the state as text", line)
    if target in blueprint.handlers:
        return str(target)
    hint = suggestion(target, blueprint.handlers)
    raise refusal(blueprint, handler, f"a transition leads to the unknown state {target!r}; {hint}", line)


def _declared_transitions(handler: Handler) -> tuple[Transition, ...]:
    return tuple(Transition(target, guard=_guard(handler)) for target in handler.may_go_to)


def _guard(handler: Handler) -> str | None:
    return None if handler.guard is None else str(handler.guard)


def _advice(handler: Handler) -> str:
    return f'write @bp.handler("{handler.state}", ..., may_go_to=["...", "..."]) with all its possible target states'
