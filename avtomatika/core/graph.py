"""Plan -> DOT: the picture of a blueprint, and of the path that a job took through it.

Names of nodes are generated, labels are escaped text, and nothing in them is HTML or a link: a blueprint's names cannot
change the picture, wherever it is rendered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from .job import HistoryEntry, Job
from .plan import EndKind, Plan, StatePlan, Transition

if TYPE_CHECKING:
    from graphviz import Digraph

#: Longer labels are cut.
_LABEL_LENGTH = 48

_INK, _PALE = "#334155", "#94a3b8"
_GREEN, _RED, _AMBER, _BLUE = "#15803d", "#b91c1c", "#b45309", "#1d4ed8"
_FONT = "Helvetica"

_GRAPH = {
    "rankdir": "LR",
    "bgcolor": "white",
    "pad": "0.3",
    "nodesep": "0.45",
    "ranksep": "0.75",
    "fontname": _FONT,
    "fontsize": "16",
    "fontcolor": _INK,
    "labelloc": "t",
    "labeljust": "l",
}
_NODE = {
    "shape": "box",
    "style": "rounded,filled",
    "fillcolor": "#f1f5f9",
    "color": _INK,
    "fontcolor": "#0f172a",
    "fontname": _FONT,
    "fontsize": "12",
    "margin": "0.18,0.1",
}
_EDGE = {"color": _INK, "fontcolor": _INK, "fontname": _FONT, "fontsize": "10", "arrowsize": "0.7"}

#: A state that has work done stands out from one that only decides.
_WORKING = {"fillcolor": "#dbeafe", "color": _BLUE}
_ENDS: Mapping[EndKind, Mapping[str, str]] = {
    EndKind.FINISHED: {"fillcolor": "#dcfce7", "color": _GREEN, "peripheries": "2"},
    EndKind.FAILED: {"fillcolor": "#fee2e2", "color": _RED, "peripheries": "2"},
}
#: Colours of outcomes; those of users get the last one.
_OUTCOMES = {None: _INK, "success": _GREEN, "failure": _RED, "timeout": _AMBER, "cancelled": _AMBER}
_USERS_OUTCOME = _BLUE

_PRESENT = {"fillcolor": "#fde68a", "penwidth": "3"}
_ENTERED = {"penwidth": "2.5"}
_NOT_ENTERED = {"fillcolor": "white", "color": _PALE, "fontcolor": _PALE}
_NOT_TAKEN = {"color": _PALE, "fontcolor": _PALE}


@dataclass(frozen=True, slots=True)
class JobPath:
    """The states that a job entered, in order, and the one that it is in or on its way to."""

    entered: tuple[str, ...]
    present: str | None

    @classmethod
    def of(cls, job: Job, entries: Iterable[HistoryEntry]) -> JobPath:
        """The path of *job* by its history, oldest entry first."""
        entered = tuple(entry.state for entry in entries if entry.event_type == "state_entered" and entry.state)
        return cls(entered, job.current_state)

    @property
    def states(self) -> tuple[str, ...]:
        """*entered* and, where it is not the last of them, *present*."""
        if self.present is None or self.entered[-1:] == (self.present,):
            return self.entered
        return (*self.entered, self.present)


def dot(plan: Plan, *, job_path: JobPath | None = None) -> str:
    """DOT source of *plan*; with *job_path* the way of that job stands out and the rest steps back."""
    return str(digraph(plan, job_path=job_path).source)


def digraph(plan: Plan, *, job_path: JobPath | None = None) -> Digraph:
    """Like :func:`dot`, as a ``graphviz.Digraph``."""
    # Imported here: who runs jobs draws nothing.
    from graphviz import Digraph, nohtml

    drawn = Digraph(graph_attr={**_GRAPH, "label": plan.blueprint}, node_attr=_NODE, edge_attr=_EDGE)
    nodes = {state: f"n{number}" for number, state in enumerate(plan.states, start=1)}
    drawn.node("start", label="", shape="circle", style="filled", width="0.18", fillcolor=_INK, color=_INK)
    for state in plan.states.values():
        drawn.node(nodes[state.name], label=nohtml(_state_label(state)), **_state_style(state, job_path))
    drawn.edge("start", nodes[plan.start])
    taken = set(pairwise(job_path.states)) if job_path is not None else set()
    for state in plan.states.values():
        for (target, outcome), edges in _grouped(state).items():
            style = {"color": _colour(outcome), "fontcolor": _colour(outcome)}
            if job_path is not None:
                style |= _ENTERED if (state.name, target) in taken else _NOT_TAKEN
            drawn.edge(nodes[state.name], nodes[target], label=nohtml(_edge_label(outcome, edges)), **style)
    return drawn


def _state_style(state: StatePlan, job_path: JobPath | None) -> dict[str, str]:
    style: dict[str, str] = dict(_ENDS[state.end]) if state.end is not None else {}
    if state.dispatches:
        style |= _WORKING
    if job_path is None:
        return style
    if state.name == job_path.present:
        return style | _PRESENT
    return style | (_ENTERED if state.name in job_path.entered else _NOT_ENTERED)


def _grouped(state: StatePlan) -> dict[tuple[str, str | None], list[Transition]]:
    """Transitions by what is drawn as one edge."""
    groups: dict[tuple[str, str | None], list[Transition]] = {}
    for transition in state.transitions:
        groups.setdefault((transition.target, transition.outcome), []).append(transition)
    return groups


def _colour(outcome: str | None) -> str:
    return _OUTCOMES.get(outcome, _USERS_OUTCOME)


def _state_label(state: StatePlan) -> str:
    lines = [state.name]
    if state.task_types:
        lines.append(f"task: {', '.join(state.task_types)}")
    elif state.dispatches:
        lines.append("task: chosen at run time")
    if state.queue is not None:
        lines.append(f"queue: {state.queue}")
    return _label(lines)


def _edge_label(outcome: str | None, edges: list[Transition]) -> str:
    """The outcome, and the conditions where it takes one to go this way."""
    guards = list(dict.fromkeys(edge.guard for edge in edges))
    lines = [] if outcome is None else [outcome]
    if None not in guards:
        lines += [f"[{guard}]" for guard in guards]
    return _label(lines)


def _label(lines: list[str]) -> str:
    return r"\n".join(_escaped(_cut(line)) for line in lines)


def _cut(text: str) -> str:
    return text if len(text) <= _LABEL_LENGTH else text[: _LABEL_LENGTH - 3] + "..."


def _escaped(text: str) -> str:
    """Text that DOT shows as it is: one line, without escapes and entities of its own."""
    one_line = "".join(character if character.isprintable() else " " for character in text)
    return one_line.replace("&", "&amp;").replace("\\", "\\\\")
