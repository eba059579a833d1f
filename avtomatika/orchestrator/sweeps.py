"""Periodic work of an orchestrator."""

import logging
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Self

from avtomatika.broker.backoff import Backoff
from avtomatika.errors import UnavailableError
from avtomatika.store import Store, Sweeper

from .placement import Placement
from .plan_takeover import PlanTakeover
from .quarantine import expire_quarantined

logger = logging.getLogger(__name__)

_TIMERS_EVERY_SECONDS = 0.5
_EXPIRY_EVERY_SECONDS = 10.0
_QUARANTINE_EVERY_SECONDS = 60.0


class Sweep:
    """Calls *run* every *every_seconds* after *not_before*, and again at once while it returns that more is left."""

    def __init__(
        self, name: str, run: Callable[[], bool], *, every_seconds: float, not_before: Callable[[], float] = float
    ) -> None:
        self._run = run
        self._every_seconds = every_seconds
        self._not_before = not_before
        self._due = 0.0
        self._backoff = Backoff(logger, f"retrying the sweep of {name} later")

    @property
    def due(self) -> float:
        """When the next run is due, by the monotonic clock."""
        return max(self._due, self._not_before())

    def run(self, now: float) -> None:
        """Run once. Raises UnavailableError; any other error delays only this sweep until its next time."""
        try:
            is_more = self._run()
        except UnavailableError:
            raise
        except Exception as error:
            self._due = now + max(self._backoff.failed(error), self._every_seconds)
            return
        self._backoff.succeeded()
        self._due = now if is_more else now + self._every_seconds


class Sweeps:
    """The sweeps of one orchestrator."""

    def __init__(self, sweeps: Sequence[Sweep]) -> None:
        self._sweeps = sweeps

    @classmethod
    def of(cls, store: Store, sweeper: Sweeper, *, placement: Placement, plans: PlanTakeover) -> Self:
        """Create the sweeps: due timers, plans, ended jobs, quarantined jobs."""
        quarantine = expire_quarantined(store, sweeper)

        def send_due_timers() -> bool:
            is_more = sweeper.send_due_timers().is_more
            placement.flush_outcomes()
            return is_more

        def maintain_plans() -> bool:
            plans.run_once()
            return False

        def fail_quarantined() -> bool:
            nonlocal quarantine
            is_more = next(quarantine, None) is not None
            if not is_more:
                quarantine = expire_quarantined(store, sweeper)
            return is_more

        return cls(
            [
                Sweep("timers", send_due_timers, every_seconds=_TIMERS_EVERY_SECONDS),
                Sweep("plans", maintain_plans, every_seconds=0.0, not_before=lambda: plans.due),
                Sweep("ended jobs", lambda: sweeper.expire_jobs().is_more, every_seconds=_EXPIRY_EVERY_SECONDS),
                Sweep("quarantined jobs", fail_quarantined, every_seconds=_QUARANTINE_EVERY_SECONDS),
            ]
        )

    @property
    def due(self) -> float:
        """When the next sweep is due, by the monotonic clock."""
        return min(sweep.due for sweep in self._sweeps)

    def run_due(self) -> None:
        """Run the sweeps that are due. Raises UnavailableError."""
        now = monotonic()
        for sweep in self._sweeps:
            if sweep.due <= now:
                sweep.run(now)
