"""Checks that every state is reachable from the start or retired, and that every state can reach an end."""

from collections.abc import Iterable, Mapping

from avtomatika.core.plan import StatePlan
from avtomatika.errors import BlueprintError


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
