"""What an orchestrator does by the clock, beside the messages that it takes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from time import monotonic

from avtomatika.broker.backoff import Failures
from avtomatika.errors import UnavailableError
from avtomatika.store import Store, Sweeper

from .placement import Placement
from .plan_takeover import PlanTakeover
from .quarantine import look_after_quarantine

logger = logging.getLogger(__name__)

_TIMERS_EVERY_SECONDS = 0.5
_EXPIRY_EVERY_SECONDS = 10.0
_QUARANTINE_EVERY_SECONDS = 60.0


class Sweep:
    """Calls *run* every *every_seconds*, not before *not_before*, and at once while it answers that more is left."""

    def __init__(
        self, name: str, run: Callable[[], bool], *, every_seconds: float, not_before: Callable[[], float] = float
    ) -> None:
        self._run = run
        self._every_seconds = every_seconds
        self._not_before = not_before
        self._due = 0.0
        self._failures = Failures(logger, f"the sweep of {name} is tried again later")

    @property
    def due(self) -> float:
        """When it is to be done, by the monotonic clock."""
        return max(self._due, self._not_before())

    def run(self, now: float) -> None:
        """Raises UnavailableError; whatever else goes wrong is this sweep's own affair, and waits for its next time."""
        try:
            is_more = self._run()
        except UnavailableError:
            raise
        except Exception as error:
            self._due = now + max(self._failures.met(error), self._every_seconds)
            return
        self._failures.over()
        self._due = now if is_more else now + self._every_seconds


class Sweeps:
    """Those of one orchestrator."""

    def __init__(self, sweeps: Sequence[Sweep]) -> None:
        self._sweeps = sweeps

    @classmethod
    def of(cls, store: Store, upkeep: Sweeper, *, placing: Placement, plans: PlanTakeover) -> Sweeps:
        """Send due timers, serve plans, remove ended jobs, give up quarantined ones."""
        quarantine = look_after_quarantine(store, upkeep)

        def send_due_timers() -> bool:
            is_more = upkeep.send_due_timers().is_more
            placing.write_outcomes()
            return is_more

        def keep_plans() -> bool:
            plans.keep()
            return False

        def give_up_quarantined() -> bool:
            nonlocal quarantine
            is_more = next(quarantine, None) is not None
            if not is_more:
                quarantine = look_after_quarantine(store, upkeep)
            return is_more

        return cls(
            [
                Sweep("timers", send_due_timers, every_seconds=_TIMERS_EVERY_SECONDS),
                Sweep("plans", keep_plans, every_seconds=0.0, not_before=lambda: plans.due),
                Sweep("ended jobs", lambda: upkeep.expire_jobs().is_more, every_seconds=_EXPIRY_EVERY_SECONDS),
                Sweep("quarantined jobs", give_up_quarantined, every_seconds=_QUARANTINE_EVERY_SECONDS),
            ]
        )

    @property
    def due(self) -> float:
        """When the next one is to be done, by the monotonic clock."""
        return min(sweep.due for sweep in self._sweeps)

    def run_due(self) -> None:
        """Do what is due. Raises UnavailableError."""
        now = monotonic()
        for sweep in self._sweeps:
            if sweep.due <= now:
                sweep.run(now)
