"""The state of a schedule, and the decision about the ticks that are due. Times are ms since the epoch."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self

from .schedule import Schedule

Source = Literal["file", "code", "api"]

#: Ticks that are later than this were missed in a downtime.
_PUNCTUAL_MS = 10_000
#: Maximum missed ticks that run with ``catch_up``: the latest ones.
MOST_MISSED = 1000
#: Maximum ticks that wait for the previous job with ``overlap = queue``.
MOST_WAITING = 100
#: Maximum ticks that are decided at once.
_BATCH = 100


@dataclass(frozen=True, kw_only=True)
class ScheduleRecord:
    """A schedule with its state.

    ``next_ms`` is the first tick that is not decided; None if there is none, or while the schedule is not active.
    *waiting* ticks wait for the previous job. ``last_ms`` and ``last_job_id`` are of the last run, *skipped* counts the
    ticks that did not run because of the previous job, and *error* says why the last one could not run. The schedule is
    looked at when ``next_ms`` is due, or instead at ``retry_ms``.
    """

    schedule: Schedule
    source: Source
    is_paused: bool = False
    next_ms: int | None = None
    retry_ms: int | None = None
    waiting: tuple[int, ...] = ()
    last_ms: int | None = None
    last_job_id: str | None = None
    skipped: int = 0
    error: str | None = None
    #: The text of the record as it was read: it is replaced only if it has not changed.
    stored: bytes = b""

    @property
    def status(self) -> str:
        """``active``, ``paused``, or ``disabled`` by its definition."""
        return "disabled" if not self.schedule.enabled else "paused" if self.is_paused else "active"

    @property
    def check_ms(self) -> int | None:
        """When it is looked at next; None for never."""
        return None if self.status != "active" else self.retry_ms or self.next_ms

    def dump(self) -> dict[str, Any]:
        """Return the record as JSON."""
        state = {each.name: getattr(self, each.name) for each in fields(self)[1:-1]}
        return {"name": self.schedule.name, "schedule": self.schedule.given(), **state}

    @classmethod
    def load(cls, record: Mapping[str, Any], stored: bytes) -> Self:
        """Return the record of :meth:`dump`. Raises InvalidRequestError or TypeError for one of another version."""
        state = {**record, "waiting": tuple(record["waiting"]), "stored": stored}
        return cls(schedule=Schedule.of(state.pop("name"), state.pop("schedule")), **state)

    def defined(self, schedule: Schedule, source: Source, now_ms: int) -> Self:
        """Return the record with another definition. Ticks that were missed still count if they are the same."""
        new, old = ((each.expression, each.interval, each.timezone) for each in (schedule, self.schedule))
        kept_ms = self.next_ms if new == old else None
        return replace(self, schedule=schedule, source=source, error=None)._from(kept_ms, now_ms)

    def paused(self, is_paused: bool, now_ms: int) -> Self:
        """Return the record paused or resumed; ticks of the pause are left out."""
        return self if is_paused == self.is_paused else replace(self, is_paused=is_paused)._from(None, now_ms)

    def _from(self, next_ms: int | None, now_ms: int) -> Self:
        if self.status != "active":
            return replace(self, next_ms=None, retry_ms=None)
        following = self.schedule.next_after(now_ms) if next_ms is None else next_ms
        return replace(self, next_ms=following, retry_ms=now_ms if self.waiting else None)


def decide(record: ScheduleRecord, *, now_ms: int, is_running: bool) -> tuple[tuple[int, ...], ScheduleRecord]:
    """Return the ticks of *record* to run now, a part of those that are due, oldest first, and the record afterwards.

    *is_running*: the job of its last run has not ended.
    """
    ticks, following = _due(record.schedule, record.next_ms, now_ms)
    run, waiting, skipped = ticks, tuple[int, ...](), 0
    match record.schedule.overlap:
        case "skip":
            run = () if is_running else ticks[:1]
            skipped = len(ticks) - len(run)
        case "cancel_previous":
            run, skipped = ticks[-1:], max(len(ticks) - 1, 0)
        case "queue":
            queued = (*record.waiting, *ticks)
            run, queued = ((), queued) if is_running else (queued[:1], queued[1:])
            waiting = queued[-MOST_WAITING:]
            skipped = len(queued) - len(waiting)
    retry_ms = min(now_ms + 1000, following or now_ms + 1000) if waiting else None  # the previous job may end
    skipped += record.skipped
    return run, replace(record, next_ms=following, retry_ms=retry_ms, waiting=waiting, skipped=skipped)


def _due(schedule: Schedule, next_ms: int | None, now_ms: int) -> tuple[tuple[int, ...], int | None]:
    """Return the ticks from *next_ms* that run now, and the first one after them."""
    if next_ms is None or next_ms > now_ms:
        return (), next_ms
    ticks = schedule.latest(next_ms - 1, now_ms, MOST_MISSED)
    if not schedule.catch_up:
        ticks = [tick for tick in ticks if tick >= now_ms - _PUNCTUAL_MS] or ticks[-1:]
    if len(ticks) > _BATCH:
        return tuple(ticks[:_BATCH]), ticks[_BATCH]
    return tuple(ticks), schedule.next_after(now_ms)
