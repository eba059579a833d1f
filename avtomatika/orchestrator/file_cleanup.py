"""Clean-up of the files of finished jobs, in a separate loop, so that a slow S3 server never delays a job.

Each clean-up is a message, and is delivered again if the process dies.
"""

import logging
from collections.abc import Collection, Sequence
from threading import Event
from time import monotonic

from avtomatika.broker import Consumer, Delivery
from avtomatika.broker.backoff import Backoff
from avtomatika.core.job import Job, JobStatus
from avtomatika.errors import TaskError, TransientError, UnavailableError
from avtomatika.files.cleanup import Cleaner, Cleanup, CleanupRules
from avtomatika.schemas import wire
from avtomatika.store import Store, Sweeper, UnreadableJob
from avtomatika.store.cleanups import cleanup_message

from .inbox import Inbox

logger = logging.getLogger(__name__)

_IDLE_SECONDS = 0.5
#: Delay before a child's files are checked again while its parent runs.
_PARENT_SECONDS = 3600.0
#: Interval at which one orchestrator looks for old files, and at which each tries to claim that.
_AGED_EVERY_SECONDS = 3600
_ASK_EVERY_SECONDS = 60.0


class FileCleanup:
    """Performs the clean-ups from *consumer* as far as *rules* still ask for them."""

    def __init__(
        self, *, consumer: Consumer, store: Store, sweeper: Sweeper, cleaner: Cleaner, rules: CleanupRules
    ) -> None:
        self._consumer = consumer
        self._store = store
        self._sweeper = sweeper
        self._cleaner = cleaner
        self._rules = rules
        self._inbox = Inbox(consumer)
        self._aged_due = 0.0
        self._stopping = Event()

    def stop(self) -> None:
        """Consume nothing new; :meth:`run` returns soon."""
        self._stopping.set()

    def run(self) -> None:
        """Work until :meth:`stop`; wait while a server is unavailable."""
        backoff = Backoff(logger, "files are cleaned up later")
        backoff.run(self.run_once, until=self._stopping.is_set, wait=self._stopping.wait)
        try:
            self._consumer.return_unstarted(self._inbox.deliveries)
        except UnavailableError as error:
            logger.warning("%s; remaining clean-ups are delivered again", error)

    def run_once(self) -> None:
        """Process the clean-ups that arrived, and remove files that are too old."""
        if not self._inbox:
            self._inbox.add(self._consumer.take(_IDLE_SECONDS))
        for delivery in self._inbox.deliveries:
            if self._stopping.is_set():
                return
            self._inbox.handle(self._handle, [delivery])
        if self._rules.max_age_seconds is not None and monotonic() >= self._aged_due:
            self._remove_aged(self._rules.max_age_seconds)
            self._aged_due = monotonic() + _ASK_EVERY_SECONDS

    def _handle(self, deliveries: Sequence[Delivery]) -> None:
        [delivery] = deliveries
        try:
            cleanup = wire.load_cleanup(delivery.body, self._store.keyring.secret)
        except wire.InvalidMessageError as error:
            logger.error("queue %s: %s; dead-lettered", delivery.queue, error)
            self._consumer.dead_letter(delivery, reason=str(error))
            return
        parents = [] if cleanup.parent_id is None else [cleanup.parent_id]
        later = self._store.later(cleanup.origin or cleanup.job_id, cleanup.job_id)
        in_use = [job for job in later if self._rules.cleanup is Cleanup.DELETE or job.status is not JobStatus.FINISHED]
        if in_use or (cleanup.what != wire.INTERMEDIATE and self._running_jobs(parents)):
            again = cleanup_message(cleanup, self._store.keyring.secret, delay_seconds=_PARENT_SECONDS)
            self._consumer.settle_many([([again], [delivery.tag])])
            return
        try:
            removed = self._remove_files(cleanup, later)
        except TransientError:
            raise
        except TaskError as error:  # access is denied: a retry cannot help
            logger.error("job %s: cannot remove its files: %s", cleanup.job_id, error)
        else:
            logger.info("job %s: removed %d files", cleanup.job_id, removed)
        self._consumer.ack([delivery.tag])

    def _remove_files(self, cleanup: wire.Cleanup, later: Sequence[Job]) -> int:
        """Remove files of a job but, unless all are deleted, not those that results of *later* ones name."""
        if self._rules.cleanup is Cleanup.KEEP:
            return 0
        if cleanup.what == wire.UNFINISHED and self._rules.cleanup is not Cleanup.DELETE:
            return self._cleaner.delete_intermediate(cleanup.job_id, later)
        if cleanup.what != wire.INTERMEDIATE:
            return self._cleaner.delete_all(cleanup.job_id) if self._rules.cleanup is Cleanup.DELETE else 0
        job = self._store.load(cleanup.job_id)
        if job is None or not job.status.is_final:
            return 0
        return self._cleaner.delete_intermediate(job.id, [job, *later])

    def _running_jobs(self, job_ids: Collection[str]) -> set[str]:
        jobs = self._store.load_many(list(job_ids))
        return {job.id for job in jobs if job is not None and not job.status.is_final}

    def _remove_aged(self, max_age_seconds: float) -> None:
        if not self._sweeper.claim("aged-files", seconds=_AGED_EVERY_SECONDS):
            return
        try:
            removed = self._cleaner.delete_older(
                self._store.clock.now_ms() - round(max_age_seconds * 1000), in_use=self._jobs_in_use
            )
        except TransientError:
            self._sweeper.release_claim("aged-files")
            raise
        except TaskError as error:
            logger.error("cannot remove old files: %s", error)
        else:
            logger.info("removed %d files older than S3_MAX_AGE_SECONDS", removed)

    def _jobs_in_use(self, job_ids: Collection[str]) -> set[str]:
        """Return running jobs, jobs that a running one continues or whose parents run, and jobs that cannot be read."""
        jobs = [job for job in self._store.load_many(list(job_ids)) if job is not None]
        parents = self._running_jobs({job.parent.job_id for job in jobs if job.parent is not None})
        return {
            job.id
            for job in jobs
            if not job.status.is_final
            or isinstance(job, UnreadableJob)
            or any(not each.status.is_final for each in self._store.later((job.origins or [job.id])[0], job.id))
            or (job.parent is not None and job.parent.job_id in parents)
        }
