"""Bindings of a plan: the queue for every event of every state."""

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256

from avtomatika.core.plan import BUILTIN_OUTCOMES, STATE_EVENTS, Binding, RoutingKey, StatePlan, queue_name


def fingerprint(blueprint: str, states: Mapping[str, StatePlan], start: str) -> str:
    """Return the plan hash: the first 8 hex digits of a hash of everything that affects routing.

    Guards, line numbers, API names and the order of definition do not affect it.
    """
    facts = {
        "blueprint": blueprint,
        "start": start,
        "states": {state.name: _facts(state) for state in states.values()},
    }
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return sha256(canonical.encode()).hexdigest()[:8]


def bindings_of(blueprint: str, plan_hash: str, states: Mapping[str, StatePlan]) -> tuple[Binding, ...]:
    """Return all bindings in the order of the states."""

    def queue_of(state: str) -> str:
        return queue_name(blueprint, plan_hash, states[state].queue)

    bindings = []
    for state in states.values():
        for outcome, targets in _outcomes(state):
            queues = {queue_of(target) for target in targets}
            # Without one queue for all targets, the queue of the state decides and forwards.
            queue = queues.pop() if len(queues) == 1 else queue_of(state.name)
            bindings.append(Binding(RoutingKey(blueprint, plan_hash, state.name, outcome), queue, targets))
    return tuple(bindings)


def _outcomes(state: StatePlan) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield every event of *state* with its possible target states."""
    if state.is_start:
        yield "_start", (state.name,)
    yield from ((event, ()) for event in STATE_EVENTS)
    if state.dispatches:
        for outcome in dict.fromkeys((*BUILTIN_OUTCOMES, *state.outcomes)):
            yield outcome, state.targets_of(outcome)


def _facts(state: StatePlan) -> dict[str, object]:
    edges = {(edge.outcome or "", edge.target, edge.task_type or "", edge.via) for edge in state.transitions}
    return {
        "queue": state.queue,
        "end": state.end,
        "dispatches": state.dispatches,
        "is_aggregator": state.is_aggregator,
        "children": state.children,
        "transitions": sorted(edges),
        "task_types": state.task_types,
    }
