"""Looks after the files of jobs that are over: a loop of its own, so that no server for files ever holds up a job.

What is to be done lies in a queue, and is done again if we die over it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from threading import Event
from time import monotonic

from avtomatika.broker import Consumer, Delivery
from avtomatika.broker.backoff import Failures
from avtomatika.errors import TaskError, TransientError, UnavailableError
from avtomatika.files.cleanup import Cleaner, Cleanup, CleanupRules
from avtomatika.schemas import wire
from avtomatika.store import Store, Sweeper, UnreadableJob
from avtomatika.store.cleanups import cleanup_message

from .inbox import Inbox

logger = logging.getLogger(__name__)

_IDLE_SECONDS = 0.5
#: A child's files are looked at again, while its parent still runs.
_PARENT_SECONDS = 3600.0
#: How often old files are looked for, by whichever orchestrator comes first; and how often each asks whether it is.
_AGED_EVERY_SECONDS = 3600
_ASK_EVERY_SECONDS = 60.0


class FileCleanup:
    """Does the clean-ups that come by *intake* as far as *rules* still want them."""

    def __init__(
        self, *, intake: Consumer, store: Store, upkeep: Sweeper, cleaner: Cleaner, rules: CleanupRules
    ) -> None:
        self._intake = intake
        self._store = store
        self._upkeep = upkeep
        self._cleaner = cleaner
        self._rules = rules
        self._inbox = Inbox(intake)
        self._aged_due = 0.0
        self._stopping = Event()

    def stop(self) -> None:
        """Take nothing new, and return from :meth:`run` soon."""
        self._stopping.set()

    def run(self) -> None:
        """Work until :meth:`stop`; while a server is away, wait for it."""
        failures = Failures(logger, "files are looked after later")
        while not self._stopping.is_set():
            try:
                self.turn()
                failures.over()
            except Exception as error:  # whatever it is: nobody else looks after them
                self._stopping.wait(failures.met(error))
        try:
            self._intake.return_unstarted(self._inbox.deliveries)
        except UnavailableError as error:
            logger.warning("%s; what is left comes again", error)

    def turn(self) -> None:
        """One round: do what came, and look for what is too old."""
        if not self._inbox:
            self._inbox.add(self._intake.take(_IDLE_SECONDS))
        for delivery in self._inbox.deliveries:
            if self._stopping.is_set():
                return
            self._inbox.handle(self._begin, [delivery])
        if self._rules.max_age_seconds is not None and monotonic() >= self._aged_due:
            self._remove_aged(self._rules.max_age_seconds)
            self._aged_due = monotonic() + _ASK_EVERY_SECONDS

    def _begin(self, deliveries: Sequence[Delivery]) -> None:
        [delivery] = deliveries
        try:
            cleanup = wire.load_cleanup(delivery.body, self._store.keyring.secret)
        except wire.InvalidMessageError as error:
            logger.error("queue %s: %s; to the dead letters", delivery.queue, error)
            self._intake.dead_letter(delivery, reason=str(error))
            return
        if cleanup.what == wire.EVERYTHING and cleanup.parent_id is not None and self._runs(cleanup.parent_id):
            again = cleanup_message(cleanup, self._store.keyring.secret, delay_seconds=_PARENT_SECONDS)
            self._intake.settle_many([([again], [delivery.tag])])
            return
        try:
            removed = self._do(cleanup)
        except TransientError:
            raise
        except TaskError as error:  # we may not, and no other try changes that
            logger.error("job %s: its files cannot be removed: %s", cleanup.job_id, error)
        else:
            logger.info("job %s: %d files removed", cleanup.job_id, removed)
        self._intake.ack([delivery.tag])

    def _do(self, cleanup: wire.Cleanup) -> int:
        if cleanup.what == wire.EVERYTHING:
            return self._cleaner.remove_all(cleanup.job_id) if self._rules.cleanup is Cleanup.DELETE else 0
        job = self._store.load(cleanup.job_id)
        if job is None or not job.status.is_final or self._rules.cleanup is Cleanup.KEEP:
            return 0
        return self._cleaner.remove_intermediate(job)

    def _runs(self, job_id: str) -> bool:
        return job_id in self._running([job_id])

    def _running(self, job_ids: Collection[str]) -> set[str]:
        jobs = self._store.load_many(list(job_ids))
        return {job.id for job in jobs if job is not None and not job.status.is_final}

    def _remove_aged(self, max_age_seconds: float) -> None:
        if not self._upkeep.claim("aged-files", seconds=_AGED_EVERY_SECONDS):
            return
        try:
            removed = self._cleaner.remove_older(
                self._store.clock.now_ms() - round(max_age_seconds * 1000), in_use=self._in_use
            )
        except TransientError:
            self._upkeep.let_go("aged-files")
            raise
        except TaskError as error:
            logger.error("old files cannot be removed: %s", error)
        else:
            logger.info("%d files removed that were older than S3_MAX_AGE_SECONDS", removed)

    def _in_use(self, job_ids: Collection[str]) -> set[str]:
        """Those that run, those whose parents do, and those that cannot be read."""
        jobs = [job for job in self._store.load_many(list(job_ids)) if job is not None]
        parents = self._running({job.parent.job_id for job in jobs if job.parent is not None})
        return {
            job.id
            for job in jobs
            if not job.status.is_final
            or isinstance(job, UnreadableJob)
            or (job.parent is not None and job.parent.job_id in parents)
        }
