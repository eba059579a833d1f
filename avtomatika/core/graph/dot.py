"""Renders a plan as DOT, with an optional overlay: the path of a job, or figures of many jobs.

Node names are generated and labels are escaped text without HTML and links, so names in a blueprint cannot change the
graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from avtomatika.core.plan import Plan, StatePlan, Transition, Via

from .style import EDGE, GRAPH, NODE, ORIGIN, edge_look, label, state_look, vias_of

if TYPE_CHECKING:
    from graphviz import Digraph


@dataclass(frozen=True, slots=True)
class DrawnEdge:
    """Transitions drawn as one edge: the same source, target, outcome and kind."""

    source: str
    target: str
    outcome: str | None
    via: Via
    guards: tuple[str | None, ...] = ()
    is_collected: bool = False


@dataclass(frozen=True, slots=True)
class Added:
    """Additions of an overlay to a node or an edge: lines of its label, and attributes."""

    lines: Sequence[str] = ()
    style: dict[str, str] = field(default_factory=dict)


class Overlay(Protocol):
    """An overlay over the graph of a plan."""

    @property
    def title(self) -> Sequence[str]:
        """Additional lines of the title."""

    def state(self, state: StatePlan) -> Added: ...

    def edge(self, edge: DrawnEdge) -> Added: ...


def dot(plan: Plan, *, overlay: Overlay | None = None) -> str:
    """Return the DOT source of *plan* with *overlay*."""
    return str(digraph(plan, overlay=overlay).source)


def digraph(plan: Plan, *, overlay: Overlay | None = None) -> Digraph:
    """Like :func:`dot`, as a ``graphviz.Digraph``."""
    # Imported here: only processes that draw need it.
    from graphviz import Digraph, nohtml

    title = label([plan.blueprint, *(overlay.title if overlay is not None else ())], ending="l")
    drawn = Digraph(graph_attr={**GRAPH, "label": nohtml(title)}, node_attr=NODE, edge_attr=EDGE)
    nodes = {state: f"n{number}" for number, state in enumerate(plan.states, start=1)}
    drawn.node("start", **ORIGIN)
    for state in plan.states.values():
        added = Added() if overlay is None else overlay.state(state)
        text = nohtml(label([*_state_lines(state), *added.lines]))
        drawn.node(nodes[state.name], label=text, **{**state_look(state), **added.style})
    drawn.edge("start", nodes[plan.start])
    for edge in edges_of(plan):
        added = Added() if overlay is None else overlay.edge(edge)
        look = edge_look(edge.via, edge.outcome, is_collected=edge.is_collected)
        text = nohtml(label([*_edge_lines(edge), *added.lines]))
        drawn.edge(nodes[edge.source], nodes[edge.target], label=text, **{**look, **added.style})
    return drawn


def edges_of(plan: Plan) -> Iterator[DrawnEdge]:
    """Yield the drawn edges in the order of the states."""
    for state in plan.states.values():
        groups: dict[tuple[str, str | None, Via], list[Transition]] = {}
        for transition in state.transitions:
            groups.setdefault((transition.target, transition.outcome, transition.via), []).append(transition)
        for (target, outcome, via), edges in groups.items():
            guards = tuple(dict.fromkeys(edge.guard for edge in edges))
            is_collected = via is Via.TASK and plan.states[target].is_aggregator
            yield DrawnEdge(state.name, target, outcome, via, guards, is_collected)


def _state_lines(state: StatePlan) -> Iterator[str]:
    """Yield the name of a state and what it does."""
    vias = vias_of(state)
    yield state.name
    if state.is_aggregator:
        yield "collects branches"
    if state.task_types:
        yield f"task: {', '.join(state.task_types)}"
    elif state.dispatches and not state.ends_with_task and not state.children:
        yield "task: chosen at run time"
    if state.children:
        yield f"runs: {', '.join(state.children)}"
    elif Via.CHILD in vias:
        yield "runs: chosen at run time"
    if Via.APPROVAL in vias:
        yield "asks a person"
    if Via.WAIT in vias:
        yield "waits for a time"
    if state.queue is not None:
        yield f"queue: {state.queue}"


def _edge_lines(edge: DrawnEdge) -> Iterator[str]:
    """Yield the outcome and the conditions."""
    if edge.outcome is not None:
        yield edge.outcome
    elif edge.via is Via.WAIT:
        yield "when it has come"
    if None not in edge.guards:
        yield from (f"[{guard}]" for guard in edge.guards)
