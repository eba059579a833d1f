"""How the paths of jobs change, as an overlay: how many took each transition before, and how many take it now."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from avtomatika.core.job import RecordedEntry
from avtomatika.core.plan import Plan, StatePlan

from .dot import Added, DrawnEdge
from .job_path import EdgeNames
from .style import PALE
from .visits import visits_in

#: (source, target, outcome)
_Edges = Counter[tuple[str, str, str | None]]
_NOT_TAKEN, _SAME = {"color": PALE, "fontcolor": PALE}, {"penwidth": "2"}
_MORE = {"color": "#15803d", "fontcolor": "#15803d", "penwidth": "3.5"}
_FEWER = {"color": "#b91c1c", "fontcolor": "#b91c1c", "penwidth": "3.5", "style": "dashed"}


@dataclass(frozen=True)
class PathChanges:
    """The transitions of *jobs* jobs *before* and *now*; *changed* of them take another path."""

    jobs: int
    changed: int
    before: _Edges
    now: _Edges

    @classmethod
    def of(
        cls, plan: Plan, histories: Sequence[tuple[Iterable[RecordedEntry], Iterable[RecordedEntry]]], changed: int
    ) -> Self:
        """Count the transitions of *plan* in *histories*, each before and now."""
        names, counts = EdgeNames(plan), (_Edges(), _Edges())
        for pair in histories:
            for count, entries in zip(counts, pair, strict=True):
                count.update(edge for visit in visits_in(entries) if (edge := names.of(visit)) is not None)
        return cls(len(histories), changed, *counts)

    @property
    def title(self) -> Sequence[str]:
        return (f"{self.jobs:,} jobs rehearsed, {self.changed:,} take another path",)

    def state(self, state: StatePlan) -> Added:
        return Added()

    def edge(self, edge: DrawnEdge) -> Added:
        name = (edge.source, edge.target, edge.outcome)
        before, now = self.before[name], self.now[name]
        if before == now:
            return Added((f"{now:,}",), _SAME) if now else Added(style=_NOT_TAKEN)
        return Added((f"{before:,} → {now:,}",), _MORE if now > before else _FEWER)
