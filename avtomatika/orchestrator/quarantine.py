"""Expiry of quarantined jobs: they fail after a month without a decision."""

import logging
from collections.abc import Iterator
from contextlib import suppress

from avtomatika.core.job import JobStatus
from avtomatika.errors import ConflictError, NotFoundError
from avtomatika.store import JobFilter, Store, Sweeper, UnreadableJob

logger = logging.getLogger(__name__)

#: Maximum time in quarantine.
QUARANTINE_SECONDS = 30 * 24 * 3600
_EVERY_SECONDS = 3600
_BATCH = 100


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
