"""Jobs that rest in quarantine until somebody looks: after a month of nobody, they fail."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress

from avtomatika.core.job import JobStatus
from avtomatika.errors import ConflictError, NotFoundError
from avtomatika.store import JobFilter, Store, Sweeper, UnreadableJob

logger = logging.getLogger(__name__)

#: How long a job may rest.
QUARANTINE_SECONDS = 30 * 24 * 3600
_EVERY_SECONDS = 3600
_BATCH = 100


def look_after_quarantine(store: Store, upkeep: Sweeper) -> Iterator[int]:
    """Give up what rests for too long, a page at a time; one orchestrator does it, once an hour."""
    if upkeep.claim("quarantine", seconds=_EVERY_SECONDS):
        yield from give_up(store, now_ms=store.clock.now_ms())


def give_up(store: Store, *, now_ms: int, after_seconds: float = QUARANTINE_SECONDS) -> Iterator[int]:
    """Have all jobs fail that came to rest longer ago than *after_seconds*; yields how many of each page of jobs."""
    cursor: str | None = None
    while True:
        given_up = 0
        jobs, cursor = store.list_jobs(JobFilter(status=JobStatus.QUARANTINED, limit=_BATCH, cursor=cursor))
        for job in jobs:
            if isinstance(job, UnreadableJob) or now_ms - job.updated_ms < after_seconds * 1000:
                continue
            with suppress(ConflictError, NotFoundError):  # somebody has looked just now
                store.signal(job, "expire", by="avtomatika")
                logger.warning("job %s has rested in quarantine for too long: it fails", job.id)
                given_up += 1
        yield given_up
        if cursor is None:
            return
