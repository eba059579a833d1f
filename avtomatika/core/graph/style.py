"""The look of a graph: colours and shapes of states and edges, and escaped labels."""

from collections.abc import Iterable, Mapping
from typing import Literal

from avtomatika.core.plan import EndKind, StatePlan, Via

#: Maximum length of a line.
_LINE_LENGTH = 48

INK, PALE = "#334155", "#a8b3c4"
_GREEN, _RED, _AMBER, _BLUE = "#15803d", "#b91c1c", "#b45309", "#1d4ed8"
_VIOLET, _TEAL = "#7e22ce", "#0f766e"
_FONT = "Helvetica"

GRAPH = {
    "rankdir": "LR",
    "bgcolor": "white",
    "pad": "0.3",
    "nodesep": "0.4",
    "ranksep": "0.7",
    "fontname": _FONT,
    "fontsize": "16",
    "fontcolor": INK,
    "labelloc": "t",
    "labeljust": "l",
}
NODE = {
    "shape": "box",
    "style": "rounded,filled",
    "fillcolor": "#f1f5f9",
    "color": INK,
    "fontcolor": "#0f172a",
    "fontname": _FONT,
    "fontsize": "12",
    "margin": "0.18,0.1",
}
EDGE = {"color": INK, "fontcolor": INK, "fontname": _FONT, "fontsize": "10", "arrowsize": "0.7"}
#: The node in front of the start state.
ORIGIN = {"label": "", "shape": "circle", "style": "filled", "width": "0.18", "fillcolor": INK, "color": INK}

#: Look of a state by its kind of action, the first that applies; a state with only ``go_to`` is plain.
_DOING: Mapping[Via, Mapping[str, str]] = {
    Via.TASK: {"fillcolor": "#dbeafe", "color": _BLUE},
    Via.CHILD: {"fillcolor": "#f3e8ff", "color": _VIOLET},
    Via.APPROVAL: {"fillcolor": "#fef3c7", "color": _AMBER},
    Via.SIGNAL: {"fillcolor": "#fef3c7", "color": _AMBER},
    Via.WAIT: {"fillcolor": "#ccfbf1", "color": _TEAL},
}
_ENDS: Mapping[EndKind, Mapping[str, str]] = {
    EndKind.FINISHED: {"fillcolor": "#dcfce7", "color": _GREEN, "peripheries": "2"},
    EndKind.FAILED: {"fillcolor": "#fee2e2", "color": _RED, "peripheries": "2"},
}
#: Look of an aggregator.
_COLLECTING = {"shape": "hexagon", "style": "filled", "margin": "0.04,0.06"}
#: Look of an edge of branches.
_COLLECTED = {"arrowhead": "normalnormal"}

#: Colours of built-in outcomes; others have the colour of their kind.
_OUTCOMES = {
    "success": _GREEN,
    "approved": _GREEN,
    "received": _GREEN,
    "failure": _RED,
    "rejected": _RED,
    "timeout": _AMBER,
    "cancelled": _AMBER,
}
_KINDS: Mapping[Via, str] = {
    Via.GO_TO: INK,
    Via.TASK: _BLUE,
    Via.WAIT: _TEAL,
    Via.APPROVAL: _AMBER,
    Via.SIGNAL: _AMBER,
    Via.CHILD: _VIOLET,
}
#: Line styles of waits that involve no worker.
_LINES: Mapping[Via, Mapping[str, str]] = {each: {"style": "dashed"} for each in (Via.WAIT, Via.APPROVAL, Via.SIGNAL)}


def state_look(state: StatePlan) -> dict[str, str]:
    """Return the attributes of the node of *state*."""
    look: dict[str, str] = dict(_ENDS[state.end]) if state.end is not None else {}
    vias = vias_of(state)
    look |= next((doing for via, doing in _DOING.items() if via in vias), {})
    return look | _COLLECTING if state.is_aggregator else look


def edge_look(via: Via, outcome: str | None, *, is_collected: bool) -> dict[str, str]:
    """Return the attributes of an edge."""
    colour = _OUTCOMES.get(outcome or "", _KINDS[via])
    look = {"color": colour, "fontcolor": colour, **_LINES.get(via, {})}
    return look | _COLLECTED if is_collected else look


def vias_of(state: StatePlan) -> frozenset[Via]:
    """Return all kinds of actions of *state*."""
    found = {edge.via for edge in state.transitions}
    return frozenset(found | {Via.TASK}) if state.dispatches else frozenset(found)


def label(lines: Iterable[str], *, ending: Literal["n", "l"] = "n") -> str:
    """Join *lines* to a DOT label, each escaped and limited in length.

    They are centred, or left-aligned with the *ending* ``l``.
    """
    shown = []
    for line in lines:
        cut = line if len(line) <= _LINE_LENGTH else line[: _LINE_LENGTH - 3] + "..."
        printable = "".join(character if character.isprintable() else " " for character in cut)
        shown.append(printable.replace("&", "&amp;").replace("\\", "\\\\"))
    return r"\n".join(shown) if ending == "n" else "".join(rf"{line}\l" for line in shown)


def span(milliseconds: float) -> str:
    """Return a duration with about two significant digits.

    >>> [span(ms) for ms in (0, 84, 2_340, 41_500, 150_000, 7_300_000, 400_000_000)]
    ['0 ms', '84 ms', '2.3 s', '42 s', '2 min 30 s', '2 h 1 min', '4 d 15 h']
    """
    seconds = milliseconds / 1000
    if seconds < 1:
        return f"{milliseconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = round(seconds)
    for unit, length, smaller, share in (("d", 86_400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= length:
            rest = whole % length // share
            return f"{whole // length} {unit} {rest} {smaller}" if rest else f"{whole // length} {unit}"
    return f"{whole} s"
