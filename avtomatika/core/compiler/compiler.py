"""Compiles a blueprint to a plan. Errors name the state and the line, and say what to write instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from inspect import getdoc
from typing import TYPE_CHECKING, TypeVar

from avtomatika.core.blueprint.handler import Handler, line_of
from avtomatika.core.plan import Plan, StatePlan, Via
from avtomatika.errors import BlueprintError

from .bindings import bindings_of, fingerprint
from .transitions import HandlerPaths, is_aggregator, paths_of, refusal

if TYPE_CHECKING:
    from avtomatika.core.blueprint.blueprint import Blueprint


W = TypeVar("W", bound=str)


def compile_blueprint(blueprint: Blueprint) -> Plan:
    """Return the plan. Raise BlueprintError for the first mistake."""
    start = _start(blueprint)
    states = {name: _state(blueprint, name, is_start=name == start) for name in blueprint.handlers}
    check_reachability(blueprint.name, states, start)
    used = [limit for state in states.values() if state.dispatches for limit in state.limits]
    for function, key, values in blueprint.limits:
        if (key, values) not in used:
            message = f"the limit {key.text!r} must be at a handler that dispatches tasks"
            raise BlueprintError(message, blueprint=blueprint.name, line=line_of(function))
    _check_aggregators(blueprint, states)
    plan_hash = fingerprint(blueprint.name, states, start)
    return Plan(
        blueprint=blueprint.name,
        plan_hash=plan_hash,
        start=start,
        states=states,
        bindings=bindings_of(blueprint.name, plan_hash, states),
        api_version=blueprint.api_version,
        api_endpoint=blueprint.api_endpoint,
        execution_timeout_seconds=blueprint.execution_timeout_seconds,
        retry=blueprint.retry,
        max_transitions=blueprint.max_transitions,
        fairness_key=blueprint.fairness_key,
        unique_key=blueprint.unique_key,
        on_conflict=blueprint.on_conflict,
        input=blueprint.input,
        output=blueprint.output,
        description=getdoc(blueprint.handlers[start][0].function),
    )


def _check_aggregators(blueprint: Blueprint, states: Mapping[str, StatePlan]) -> None:
    """Check that a parallel task leads to every aggregator."""
    edges = [(state, edge) for state in states.values() for edge in state.transitions]
    collected = {edge.target for _, edge in edges if edge.via is Via.TASK and edge.outcome == "success"}
    declared = {target for state in states.values() for target in state.may_go_to}
    for state in states.values():
        if state.is_aggregator and not state.is_retired and state.name not in collected | declared:
            message = "is an aggregator, but no dispatch_parallel, run_blueprints or dispatch_task maps 'success' to it"
            raise BlueprintError(message, blueprint=blueprint.name, state=state.name, line=state.line)


def _start(blueprint: Blueprint) -> str:
    marked = [handler for handlers in blueprint.handlers.values() for handler in handlers if handler.is_start]
    if not marked:
        raise BlueprintError(
            "has no start: mark the handler of one state with @bp.handler(is_start=True)", blueprint=blueprint.name
        )
    first = marked[0]
    for other in marked[1:]:
        if other.state != first.state:
            message = f"is a second start: {first.state!r}, line {first.line}, is marked is_start=True already"
            raise refusal(blueprint, other, message)
    return first.state


def _state(blueprint: Blueprint, name: str, *, is_start: bool) -> StatePlan:
    handlers = blueprint.handlers[name]
    _check_order(blueprint, handlers)
    paths = [paths_of(blueprint, handler) for handler in handlers]
    end = _agreed(blueprint, handlers, "is_end", [handler.end for handler in handlers])
    for handler, path in zip(handlers, paths, strict=True):
        _check_actions(blueprint, handler, path, is_end=end is not None)
    transitions = tuple(dict.fromkeys(transition for path in paths for transition in path.transitions))
    targets = dict.fromkeys(transition.target for transition in transitions)
    functions = [handler.function for handler in handlers]
    return StatePlan(
        name=name,
        queue=_agreed(blueprint, handlers, "queue", [handler.queue for handler in handlers]),
        is_start=is_start,
        end=end,
        transitions=transitions,
        task_types=tuple(sorted({task_type for path in paths for task_type in path.task_types})),
        children=tuple(sorted({child for path in paths for child in path.children})),
        signals=tuple(each for path in paths for each in path.signals),
        dispatches=any(path.dispatches for path in paths),
        is_aggregator=any(handler.is_aggregator for handler in handlers),
        aggregators=tuple(target for target in targets if is_aggregator(blueprint, target)),
        guards=tuple(str(handler.guard) for handler in handlers if handler.guard is not None),
        may_go_to=tuple(dict.fromkeys(target for handler in handlers for target in handler.may_go_to)),
        is_retired=any(handler.is_retired for handler in handlers),
        limits=tuple((key, values) for made, key, values in blueprint.limits if made in functions),
        line=handlers[0].line,
    )


def _check_order(blueprint: Blueprint, handlers: tuple[Handler, ...]) -> None:
    """Check that no handler is unreachable because an earlier one always decides."""
    first: dict[str | None, Handler] = {}
    for handler in handlers:
        guard = None if handler.guard is None else repr(handler.guard)
        if guard in first:
            what = "a second handler without a condition" if guard is None else f"a second handler for {handler.guard}"
            message = f"{what}: the one in line {first[guard].line} always decides first; remove one of them"
            raise refusal(blueprint, handler, message)
        first[guard] = handler


def _agreed(blueprint: Blueprint, handlers: tuple[Handler, ...], option: str, values: list[W | None]) -> W | None:
    """Return the value of *option* for a state; its handlers, which have *values*, must not contradict one another."""
    said = [(handler, value) for handler, value in zip(handlers, values, strict=True) if value is not None]
    if not said:
        return None
    first, agreed = said[0]
    for handler, value in said[1:]:
        if value != agreed:
            message = f"{option} is '{value}' here, but '{agreed}' in line {first.line}; a state has one"
            raise refusal(blueprint, handler, message)
    return agreed


def _check_actions(blueprint: Blueprint, handler: Handler, paths: HandlerPaths, *, is_end: bool) -> None:
    """Check that handlers of ends take no action, and all others take one."""
    if is_end and paths.first_action_line is not None:
        message = "is an end, so its handler must not use actions: remove that, or is_end"
        raise refusal(blueprint, handler, message, paths.first_action_line)
    if is_end and handler.may_go_to:
        raise refusal(blueprint, handler, "is an end, so it cannot have may_go_to")
    if not is_end and not paths.transitions:
        message = "has no transition: call actions.go_to(...) or actions.dispatch_task(...), or mark it is_end=True"
        raise refusal(blueprint, handler, message)
    is_one_of_several = handler.guard is not None or len(blueprint.handlers[handler.state]) > 1
    if not is_end and not is_one_of_several and paths.undecided_line is not None:
        message = "takes no action on the path that ends here: call actions.go_to(...) there, or raise an error"
        raise refusal(blueprint, handler, message, paths.undecided_line)


def check_reachability(blueprint: str, states: Mapping[str, StatePlan], start: str) -> None:
    """Raise BlueprintError for the first state that is unreachable or cannot reach an end."""
    onward = {name: {transition.target for transition in state.transitions} for name, state in states.items()}
    backward = {name: {source for source, targets in onward.items() if name in targets} for name in states}
    ends = [name for name, state in states.items() if state.end is not None]
    retired = [name for name, state in states.items() if state.is_retired]
    from_start, to_end = _reached([start], onward), _reached(ends, backward)
    known = from_start | _reached(retired, onward)
    for state in states.values():
        if state.is_retired and state.name in from_start:
            sources = ", ".join(repr(source) for source in sorted(backward[state.name] & from_start))
            led = f"{sources} leads to it" if sources else "jobs start in it"
            message = f"is retired, but {led}: change that, or remove retired=True"
        elif state.name not in known:
            message = f"is unreachable: no transition leads to it from the start {start!r}"
        elif state.name not in to_end:
            message = "cannot reach an end: mark a state that it leads to with is_end=True"
        else:
            continue
        raise BlueprintError(message, blueprint=blueprint, state=state.name, line=state.line)


def _reached(origins: Iterable[str], onward: Mapping[str, Iterable[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = list(origins)
    while waiting:
        state = waiting.pop()
        if state not in reached:
            reached.add(state)
            waiting.extend(onward[state])
    return reached
