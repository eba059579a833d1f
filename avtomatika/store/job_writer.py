"""Commits steps of jobs: many in one round trip, each of them atomically."""

from collections.abc import Sequence
from typing import Any

from avtomatika import transport
from avtomatika.core.job import HistoryEntry, Job, JobStatus, Json
from avtomatika.errors import UnreadableRecordError
from avtomatika.transport import Outgoing, RedisClient, Router
from avtomatika.transport.scripts import Call

from .commit import Commit, CommitReply, CommitStatus, commit_call, read_reply
from .entries import dump_entry
from .job_queries import JobQueries
from .keyring import Keyring
from .large_values import Dump, LargeValuesError, is_initial
from .messages import notification
from .records import UnreadableJob, dump_doc, dump_init
from .scripts import QUARANTINE_JOB, ignore_call, note_call, server_errors
from .server_part import ServerClock


class TooLargeError(Exception):
    """A step after which its job, or one that it creates, would exceed the size limit."""

    def __init__(self, job: Job, size: int, limit: int) -> None:
        super().__init__(
            f"state {job.current_state!r}: the data of the job would be {size} bytes of JSON, but MAX_JOB_BYTES={limit}"
        )


def dump_step(commit: Commit, *, max_bytes: int) -> Dump:
    """Return the record of the job after *commit*. Raises TooLargeError, except for a job that already failed."""
    job = commit.step.job
    doc = dump_doc(job, version=commit.before.version + 1)
    initial = sum(size for name, (_, size) in job.large.items() if is_initial(name) and name not in doc.values)
    if doc.size + initial > max_bytes and job.status is not JobStatus.ERROR:
        raise TooLargeError(job, doc.size + initial, max_bytes)
    for child in commit.step.children:
        if (size := dump_init(child.job).size) > max_bytes:
            raise TooLargeError(job, size, max_bytes)
    return doc


class JobWriter(JobQueries):
    """Commits steps of the jobs that it reads. The large values that it writes are cached."""

    def __init__(
        self, server: RedisClient, router: Router, *, keyring: Keyring, max_bytes: int, cache_bytes: int, **options: Any
    ) -> None:
        """*max_bytes* and *options* are those of :func:`.commit.commit_call`."""
        super().__init__(server, cache_bytes=cache_bytes)
        self.keyring = keyring
        self.clock = ServerClock(server)
        self._router = router
        self._max_job_bytes = max_bytes
        self._commit_options: dict[str, Any] = {
            "keys": self._keys,
            "router": router,
            "clock": self.clock,
            "max_bytes": max_bytes,
            **options,
        }

    @property
    def _routing(self) -> dict[str, Any]:
        return {"keys": self._keys, "router": self._router, "secret": self.keyring.secret}

    def commit(self, commits: Sequence[Commit]) -> list[CommitReply]:
        """Write steps in one round trip, each one atomically.

        Raises UnavailableError if the server is unreachable: any of them may have been written, and all can be
        committed again.
        """
        replies: list[CommitReply | None] = [None] * len(commits)
        calls: dict[int, Call] = {}
        docs: dict[int, Dump] = {}
        with server_errors():
            for index, commit in enumerate(commits):
                try:
                    docs[index] = dump_step(commit, max_bytes=self._max_job_bytes)
                    secret = self.keyring.secret
                    calls[index] = commit_call(commit, doc=docs[index], secret=secret, **self._commit_options)
                except transport.NoRouteError as error:
                    unbound = (error.exchange, error.routing_key)
                    replies[index] = CommitReply(CommitStatus.NO_ROUTE, commit.causes, str(error), unbound)
                except LargeValuesError:
                    replies[index] = CommitReply(CommitStatus.LARGE_VALUES, commit.causes)
                except TooLargeError as error:
                    replies[index] = CommitReply(CommitStatus.TOO_LARGE, commit.causes, str(error))
        for index, answer in zip(calls, self._run_all(list(calls.values())), strict=True):
            reply = replies[index] = read_reply(commits[index], answer)
            job = commits[index].step.job
            if reply.answer is CommitStatus.OK and not job.status.is_final:
                self._jobs.cache.add(job.id, docs[index].values)
        return [reply for reply in replies if reply is not None]

    def quarantine(self, job: UnreadableJob) -> list[Outgoing]:
        """Quarantine a job without changing its unreadable record, and return the messages to send then. Does nothing
        if its key contains no job."""
        error = {"code": UnreadableRecordError.code.upper(), "message": job.reason}
        entry = HistoryEntry("job_quarantined", state=job.current_state, data={"reason": job.reason, "error": error})
        keys = self._keys.of(job.id)
        indexes = [keys.by_status(status) for status in (job.status, JobStatus.QUARANTINED)]
        own = [keys.job(job.id), keys.history(job.id), *indexes]
        [is_done] = self._run_all([Call(QUARANTINE_JOB, own, [job.id, job.status, dump_entry(entry)])])
        if is_done != 1 or not self._commit_options["notifies"]:
            return []
        quarantined = job.evolve(status=JobStatus.QUARANTINED, error=error)
        return [notification(quarantined, self.keyring.secret, version=job.version + 1, clock=self.clock)]

    def ignore(self, events: Sequence[tuple[str, str, Json]]) -> None:
        """Acknowledge events that change nothing: (delivery tag, job id, note or None)."""
        self._run_all([ignore_call(self._keys, self._router, tag, job_id, note) for tag, job_id, note in events])

    def note(self, job_id: str, note: Json) -> None:
        """Add *note* to the notes of a job, if the job exists."""
        self._run(note_call(self._keys, job_id, note))
