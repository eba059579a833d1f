"""Periodic work of an orchestrator, with the expiry of quarantined jobs."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from threading import Event
from time import monotonic
from typing import Self

from avtomatika.broker.backoff import Backoff
from avtomatika.core.job import JobStatus
from avtomatika.errors import ConflictError, NotFoundError, UnavailableError
from avtomatika.store import Archiver, JobFilter, Store, Sweeper, UnreadableJob

from .placement import Placement
from .plan_takeover import PlanTakeover
from .schedules import ScheduleRunner

logger = logging.getLogger(__name__)

_TIMERS_EVERY_SECONDS = 0.5
_SCHEDULES_EVERY_SECONDS = 1.0
_EXPIRY_EVERY_SECONDS = 10.0
_SHARDS_EVERY_SECONDS = 10.0
_QUARANTINE_EVERY_SECONDS = 60.0
#: More than once a minute, so that no minute is missed.
_SAMPLE_EVERY_SECONDS = 20.0
#: Maximum time in quarantine.
QUARANTINE_SECONDS = 30 * 24 * 3600
_EVERY_SECONDS = 3600
_BATCH = 100


class Sweep:
    """Calls *run* every *every_seconds* after *not_before*, and again at once while it returns True: more is left."""

    def __init__(
        self, name: str, run: Callable[[], object], *, every_seconds: float, not_before: Callable[[], float] = float
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
    def of(
        cls, store: Store, sweeper: Sweeper, *, placement: Placement, plans: PlanTakeover, schedules: ScheduleRunner
    ) -> Self:
        """Create the sweeps: due timers, plans, schedules, ended jobs, quarantined jobs, statistics."""
        quarantine = expire_quarantined(store, sweeper)

        def send_due_timers() -> bool:
            is_more = sweeper.send_due_timers().is_more
            placement.flush_outcomes()
            store.task_times.flush()
            return is_more

        def fail_quarantined() -> bool:
            nonlocal quarantine
            is_more = next(quarantine, None) is not None
            if not is_more:
                quarantine = expire_quarantined(store, sweeper)
            return is_more

        def sample() -> None:
            if sweeper.claim(f"statistics:{store.clock.now_ms() // 60_000}", seconds=60):
                store.overview.sample()

        return cls(
            [
                Sweep("timers", send_due_timers, every_seconds=_TIMERS_EVERY_SECONDS),
                Sweep("shards", sweeper.announce_shards, every_seconds=_SHARDS_EVERY_SECONDS),
                Sweep("plans", plans.run_once, every_seconds=0.0, not_before=lambda: plans.due),
                Sweep("definitions of schedules", schedules.announce, every_seconds=_SCHEDULES_EVERY_SECONDS),
                Sweep("limits", store.limits.announce, every_seconds=_SCHEDULES_EVERY_SECONDS),
                Sweep("shares of limits", store.limits.move_shares, every_seconds=_TIMERS_EVERY_SECONDS),
                Sweep("due schedules", schedules.run_due, every_seconds=_SCHEDULES_EVERY_SECONDS),
                Sweep("ended jobs", lambda: sweeper.expire_jobs().is_more, every_seconds=_EXPIRY_EVERY_SECONDS),
                Sweep("quarantined jobs", fail_quarantined, every_seconds=_QUARANTINE_EVERY_SECONDS),
                Sweep("statistics", sample, every_seconds=_SAMPLE_EVERY_SECONDS),
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


class Archiving:
    """Runs *archiver* in a loop of its own, so that a slow database delays no job."""

    def __init__(self, archiver: Archiver) -> None:
        self._archiver = archiver
        self._stopping = Event()

    def stop(self) -> None:
        """Start nothing new; :meth:`run` returns soon."""
        self._stopping.set()

    def run(self) -> None:
        """Work until :meth:`stop`; wait while the server or the database is unavailable."""
        backoff = Backoff(logger, "ended jobs stay on the server")
        backoff.run(self._run_once, until=self._stopping.is_set, wait=self._stopping.wait)

    def _run_once(self) -> None:
        if not self._archiver.run_once():
            self._stopping.wait(_EXPIRY_EVERY_SECONDS)


def expire_quarantined(store: Store, sweeper: Sweeper) -> Iterator[int]:
    """Fail jobs whose quarantine has expired, a page at a time; one orchestrator does it, once an hour."""
    if sweeper.claim("quarantine", seconds=_EVERY_SECONDS):
        yield from fail_expired(store, now_ms=store.clock.now_ms())


def fail_expired(store: Store, *, now_ms: int, after_seconds: float = QUARANTINE_SECONDS) -> Iterator[int]:
    """Fail all jobs quarantined for longer than *after_seconds*; yield the number of each page of jobs."""
    cursor: str | None = None
    while True:
        failed = 0
        jobs, cursor = store.list_jobs(JobFilter(status=JobStatus.QUARANTINED, limit=_BATCH, cursor=cursor))
        for job in jobs:
            if isinstance(job, UnreadableJob) or now_ms - job.updated_ms < after_seconds * 1000:
                continue
            with suppress(ConflictError, NotFoundError):  # it was changed a moment ago
                store.signal(job, "expire", by="avtomatika")
                logger.warning("job %s was quarantined for too long: failing it", job.id)
                failed += 1
        yield failed
        if cursor is None:
            return
