"""Outcomes: how tasks of workers ended, counted in memory and written to the registry now and then.

No commit waits for it; an orchestrator that is killed forgets what it counted within the last moment.
"""

from __future__ import annotations

from collections.abc import Iterable

from avtomatika.core.events import Event
from avtomatika.core.placement import reputation
from avtomatika.store import WorkerRegistry


class Outcomes:
    """For one thread. Where the registry is away, what is counted is kept."""

    def __init__(self, registry: WorkerRegistry) -> None:
        self._registry = registry
        #: Worker -> how many tasks ended well, and how many did not.
        self._counts: dict[str, tuple[int, int]] = {}

    def note(self, events: Iterable[Event]) -> None:
        """Count what *events* tell of workers. One that comes twice counts twice: it fades all the same."""
        for event in events:
            told = reputation.told_by(event)
            if told is not None:
                self._count(*told)

    def failed(self, worker_id: str) -> None:
        """A task was taken away from a worker that is lost, or did not begin with it."""
        self._count(worker_id, False)

    def write_down(self) -> None:
        """Tell the registry; costs nothing where there is nothing to tell."""
        if self._counts:
            self._registry.record_outcomes(self._counts)
            self._counts = {}

    def _count(self, worker_id: str, is_good: bool) -> None:
        good, bad = self._counts.get(worker_id, (0, 0))
        self._counts[worker_id] = (good + 1, bad) if is_good else (good, bad + 1)
