"""Queries for jobs, their histories and their live state."""

from collections.abc import Sequence
from itertools import chain, islice
from typing import Any

from avtomatika.core.explain.live_state import LiveState
from avtomatika.core.job import Job, RecordedEntry, WaitRecord
from avtomatika.errors import UnreadableRecordError
from avtomatika.transport import RedisClient
from avtomatika.transport.scripts import Call

from . import live_state
from .entries import load_entry, load_note
from .job_list import JobCounts, count_by_blueprint, count_by_status, list_ids
from .job_reader import JobReader
from .records import JobFilter, UnreadableJob
from .scripts import READ_HISTORY, read_all, run
from .server_part import ServerPart
from .signals import approval_of, too_late

#: More entries than a list of the server can have.
_MAX_SEQ = 2**32
#: Maximum size of the entries in a page of a history.
_MAX_PAGE_BYTES = 4 * 1024 * 1024


class JobQueries(ServerPart):
    """Queries for the jobs of one server. Thread-safe."""

    def __init__(self, server: RedisClient, *, cache_bytes: int) -> None:
        super().__init__(server)
        self._jobs = JobReader(server, self._keys, cache_bytes=cache_bytes)

    def load(self, job_id: str) -> Job | None:
        """Return the job or None. Raises UnreadableRecordError."""
        [job] = self.load_many([job_id])
        if isinstance(job, UnreadableJob):
            raise UnreadableRecordError(job_id, job.reason)
        return job

    def load_many(self, job_ids: Sequence[str]) -> list[Job | None]:
        """Return jobs in the order of *job_ids*. Some may be an :class:`UnreadableJob`."""
        return self._jobs.jobs(job_ids)

    def approval(self, job: Job, token: str | None = None) -> WaitRecord:
        """Return the approval that *job* waits for. Raises ConflictError if it waits for none, or not for *token*."""
        asked = approval_of(job)
        if asked is None or asked.token != (token or asked.token):
            [decided] = read_all(self._server, [("HGET", self._keys.job(job.id), "decided")])
            raise too_late(job, token, (decided or b"").decode())
        return asked

    def list_jobs(self, wanted: JobFilter, *, with_data: bool = False) -> tuple[list[Job], str | None]:
        """Return up to ``wanted.limit`` jobs that match, newest first, and the cursor of the next page or None.

        Following the cursors returns every job that matches throughout exactly once. A page may have fewer jobs than
        the limit, or none, before the end. Without *with_data* large values are omitted. Some jobs may be an
        :class:`UnreadableJob`.
        """
        ids, cursor = list_ids(self._server, self._keys, wanted)
        found = self._jobs.jobs(ids) if with_data else self._jobs.summaries(ids)
        return [job for job in found if job is not None and wanted.matches(job)], cursor

    def count_by_status(self, wanted: JobFilter) -> JobCounts:
        """Count the jobs that match, by status, in one round trip; of each status up to 2,000 jobs are examined."""
        return count_by_status(self._server, self._keys, wanted)

    def count_by_blueprint(self, wanted: JobFilter) -> JobCounts:
        """Count the jobs that match, by blueprint; up to 5,000 jobs are examined."""
        return count_by_blueprint(self._server, self._keys, wanted)

    def count(self, status: str) -> int:
        """Return the number of jobs with *status*."""
        return int(read_all(self._server, [("ZCARD", self._keys.by_status(status))])[0])

    def history(self, job_id: str, *, after: int = 0, limit: int = 1000) -> tuple[list[RecordedEntry], int | None]:
        """Return entries with ``seq > after``, oldest first, and the ``after`` of the next page, or None.

        A page ends before the entry that exceeds 4 MiB in total, but has at least one entry.
        """
        page = Call(READ_HISTORY, [self._keys.history(job_id)], [min(after, _MAX_SEQ), limit, _MAX_PAGE_BYTES])
        is_more, *rows = run(self._server, page)
        entries = [load_entry(after + place, row) for place, row in enumerate(rows, start=1)]
        return entries, after + len(rows) if is_more else None

    def notes(self, job_id: str) -> list[dict[str, Any]]:
        """Return the notes about ignored events, newest first, at most 100."""
        [rows] = read_all(self._server, [("LRANGE", self._keys.notes(job_id), 0, -1)])
        return [load_note(row) for row in rows]

    def live_state(self, job: Job) -> LiveState:
        """Return the live state of *job*: the workers of its open tasks, their progress, and decisions."""
        return self.live_states([job])[0]

    def live_states(self, jobs: Sequence[Job]) -> list[LiveState]:
        """Return the live state of several jobs in one round trip."""
        commands = [live_state.commands(job, self._keys) for job in jobs]
        rows = iter(read_all(self._server, list(chain(*commands))))
        return [live_state.read(job, list(islice(rows, len(asked)))) for job, asked in zip(jobs, commands, strict=True)]

    def task_workers(self, tasks: Sequence[tuple[str, str]]) -> list[str | None]:
        """Return the id of the worker that started each of *tasks* (job id, task id), or None."""
        rows = read_all(self._server, [("HGET", self._keys.tasks(job_id), f"{task}/worker") for job_id, task in tasks])
        return [None if row is None else row.decode() for row in rows]
