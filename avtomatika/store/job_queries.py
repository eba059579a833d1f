"""Reads jobs, their histories and their live state."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any

from avtomatika.core.explain.facts import LiveState
from avtomatika.core.job import Job, RecordedEntry, WaitRecord
from avtomatika.errors import SettingsError, UnreadableRecordError
from avtomatika.transport import Reading, RedisClient, none_refused
from avtomatika.transport.scripts import Call

from . import live_state
from .archive import Archive, Position, merged
from .entries import load_entry, load_note
from .job_list import JobLists, start
from .large_values import ValueCache, Values, load_values
from .records import JobFilter, UnreadableJob, load_job, unreadable
from .scripts import READ_HISTORY
from .server_part import JobRow, ServerPart
from .signals import approval_of, too_late

#: More entries than a list of the server can have.
_MAX_SEQ = 2**32
#: Maximum size of the entries in a page of a history.
_MAX_PAGE_BYTES = 4 * 1024 * 1024
#: Attempts to read a job whose large values are replaced between two reads.
_ATTEMPTS = 5
#: Maximum number of later tries and forks of a job.
_MOST_TRIES = 500
#: The same for each of many first pages that are read at once.
_FIRST_PAGE_BYTES = 64 * 1024


class JobReader(ServerPart):
    """Reads the jobs of one server. Thread-safe."""

    def __init__(self, server: RedisClient, *, cache_bytes: int) -> None:
        super().__init__(server)
        #: The large values that were read or written most recently.
        self.cache = ValueCache(cache_bytes)

    def read_jobs(
        self, job_ids: Sequence[str], known_rows: Mapping[str, JobRow] | None = None
    ) -> Reading[list[Job | None]]:
        """Read whole jobs in the order of *job_ids*: one round trip unless their rows are known, and a second one for
        large values."""
        rows = dict(known_rows or zip(job_ids, (yield from self._read_rows(job_ids)), strict=True))
        found = {job_id: load_job(job_id, row) for job_id, row in rows.items()}
        for _ in range(_ATTEMPTS):
            incomplete = [job for job in found.values() if job is not None and _lacks_values(job)]
            if not incomplete:
                break
            replaced = []
            for job, values in zip(incomplete, (yield from self._read_values(incomplete)), strict=True):
                if len(values) == len(job.large):
                    found[job.id] = load_job(job.id, rows[job.id], values)
                else:
                    replaced.append(job.id)
            for job_id, row in zip(replaced, (yield from self._read_rows(replaced)), strict=True):
                rows[job_id], found[job_id] = row, load_job(job_id, row)
        lost = LookupError("a large value of the job is missing")
        return [
            unreadable(job, lost) if job is not None and _lacks_values(job) else job
            for job in (found[job_id] for job_id in job_ids)
        ]

    def _read_values(self, jobs: Sequence[Job]) -> Reading[list[Values]]:
        """Read the large values of each of *jobs* that still exist."""
        known = [
            {name: value for name in job.large if (value := self.cache.get(job.id, name)) is not None} for job in jobs
        ]
        wanted = [[name for name in job.large if name not in values] for job, values in zip(jobs, known, strict=True)]
        keys = [self._keys.of(job.id).job(job.id) for job in jobs]
        commands = [("HMGET", key, *names) for key, names in zip(keys, wanted, strict=True) if names]
        rows = iter(none_refused((yield commands)))
        for job, names, values in zip(jobs, wanted, known, strict=True):
            for row in islice(rows, 1 if names else 0):
                read = load_values(names, row)
                self.cache.add(job.id, read)
                values.update(read)
        return list(known)


class JobQueries(JobLists):
    """Queries for the jobs of one server. Thread-safe."""

    def __init__(self, server: RedisClient, *, cache_bytes: int) -> None:
        super().__init__(server)
        self._jobs = JobReader(server, cache_bytes=cache_bytes)
        #: Where single jobs and their histories are read if the server does not have them.
        self.archive: Archive | None = None

    def load(self, job_id: str) -> Job | None:
        """Return the job or None. Raises UnreadableRecordError."""
        return self.read_together(self.read_job(job_id))[0]

    def read_job(self, job_id: str) -> Reading[Job | None]:
        """The reading of :meth:`load`."""
        [job] = yield from self._jobs.read_jobs([job_id])
        if job is None and self.archive is not None and (stored := self.archive.load(job_id)) is not None:
            job = stored.load()
        if isinstance(job, UnreadableJob):
            raise UnreadableRecordError(job_id, job.reason)
        return job

    def load_many(self, job_ids: Sequence[str]) -> list[Job | None]:
        """Return jobs in the order of *job_ids*. Some may be an :class:`UnreadableJob`."""
        return self.read_together(self._jobs.read_jobs(job_ids))[0]

    def approval(self, job: Job, token: str | None = None) -> WaitRecord:
        """Return the approval that *job* waits for. Raises ConflictError if it waits for none, or not for *token*."""
        asked = approval_of(job)
        if asked is None or asked.token != (token or asked.token):
            [decided] = self._read([("HGET", self._keys.of(job.id).job(job.id), "decided")])
            raise too_late(job, token, (decided or b"").decode())
        return asked

    def list_jobs(self, wanted: JobFilter, *, with_data: bool = False) -> tuple[list[Job], str | None]:
        """Return up to ``wanted.limit`` jobs that match, newest first, and the cursor of the next page or None.

        Following the cursors returns every job that matches throughout exactly once. A page may have fewer jobs than
        the limit, or none, before the end. Without *with_data* large values are omitted. Some jobs may be an
        :class:`UnreadableJob`.
        """
        return self.read_together(self.read_list(wanted, with_data=with_data))[0]

    def read_list(self, wanted: JobFilter, *, with_data: bool = False) -> Reading[tuple[list[Job], str | None]]:
        """The reading of :meth:`list_jobs`: one round trip if many of the jobs match, and one for large values.

        Raises SettingsError if it asks for archived jobs and there is no archive.
        """
        if wanted.archived and self.archive is None:
            raise SettingsError("this server archives no jobs: HISTORY_DATABASE_URI is not set")
        rows, cursor = yield from self._read_list(wanted)
        found: Iterable[Job | None] = (load_job(job_id, row) for job_id, row in rows.items())
        if with_data and rows:
            found = yield from self._jobs.read_jobs(list(rows), rows)
        jobs = [job for job in found if job is not None]
        if wanted.archived and self.archive is not None:
            after, end = (_position(*start(each)) for each in (wanted, replace(wanted, cursor=cursor)))
            jobs, next_place = merged(wanted, jobs, end if cursor else None, self.archive.find(wanted, after))
            cursor = None if next_place is None else "{}.{}".format(*next_place)
        return [job for job in jobs if wanted.matches(job)], cursor

    def tries(self, job: Job) -> list[Job]:
        """Return the jobs that *job* came from, directly or not, and those that came from its first one, oldest
        first. Some may be an :class:`UnreadableJob`."""
        origins = job.origins or [job.id]
        found = {each.id: each for each in (*self.load_many([*origins, job.id]), *self.later(origins[0])) if each}
        return sorted(found.values(), key=lambda each: each.created_ms)

    def later(self, origin: str, after: str | None = None) -> list[Job]:
        """Return the jobs on the server that continue the first job *origin*, directly or not, created after that
        job."""
        rows = self._read(
            [("ZRANGE", keys.by_origin(origin), -_MOST_TRIES, -1, "WITHSCORES") for keys in self._keys.shards]
        )
        found = sorted((float(row[at + 1]), row[at]) for row in rows for at in range(0, len(row), 2))
        ids = [job_id.decode() for _, job_id in found]
        later = ids[ids.index(after) + 1 :] if after in ids else ids
        return [job for job in self.load_many(later) if job is not None]

    def count(self, status: str) -> int:
        """Return the number of jobs with *status*."""
        return sum(self._read([("ZCARD", keys.by_status(status)) for keys in self._keys.shards]))

    def history(self, job_id: str, *, after: int = 0, limit: int = 1000) -> tuple[list[RecordedEntry], int | None]:
        """Return entries with ``seq > after``, oldest first, and the ``after`` of the next page, or None.

        A page ends before the entry that exceeds 4 MiB in total, but has at least one entry.
        """
        return self.read_together(self.read_history(job_id, after=after, limit=limit))[0]

    def read_history(
        self, job_id: str, *, after: int = 0, limit: int = 1000
    ) -> Reading[tuple[list[RecordedEntry], int | None]]:
        """The reading of :meth:`history`, in one round trip."""
        call, is_stored = self._history_page(job_id, after, limit), ("EXISTS", self._keys.of(job_id).history(job_id))
        [[is_more, *rows], *stored] = none_refused((yield [call, *([] if self.archive is None else [is_stored])]))
        if self.archive is not None and not stored[0]:
            archived = self.archive.load(job_id)
            rows = [] if archived is None else list(archived.history[after:])
            is_more, rows = len(rows) > limit, rows[:limit]
        entries = [load_entry(after + place, row) for place, row in enumerate(rows, start=1)]
        return entries, after + len(rows) if is_more else None

    def histories(self, job_ids: Sequence[str]) -> Iterator[Iterator[RecordedEntry]]:
        """Iterate over whole histories, whose first pages are read in one round trip."""
        pages = self._run_all([self._history_page(job_id, 0, 1000, _FIRST_PAGE_BYTES) for job_id in job_ids])
        for job_id, page in zip(job_ids, pages, strict=True):
            is_more, *rows = (True,) if isinstance(page, Exception) else page
            is_more = is_more or (self.archive is not None and not rows)
            entries = [load_entry(place, row) for place, row in enumerate(rows, start=1)]
            yield chain(entries, self._rest(job_id, len(rows) if is_more else None))

    def _rest(self, job_id: str, after: int | None) -> Iterator[RecordedEntry]:
        while after is not None:
            recorded, after = self.history(job_id, after=after)
            yield from recorded

    def _history_page(self, job_id: str, after: int, limit: int, max_bytes: int = _MAX_PAGE_BYTES) -> Call:
        return Call(READ_HISTORY, [self._keys.of(job_id).history(job_id)], [min(after, _MAX_SEQ), limit, max_bytes])

    def notes(self, job_id: str) -> list[dict[str, Any]]:
        """Return the notes about ignored events, newest first, at most 100."""
        keys = self._keys.of(job_id)
        [rows, is_stored] = self._read([("LRANGE", keys.notes(job_id), 0, -1), ("EXISTS", keys.job(job_id))])
        if self.archive is not None and not is_stored and (archived := self.archive.load(job_id)) is not None:
            rows = archived.notes
        return [load_note(row) for row in rows]

    def live_state(self, job: Job) -> LiveState:
        """Return the live state of *job*: the workers of its open tasks, their progress, and decisions."""
        return self.live_states([job])[0]

    def live_states(self, jobs: Sequence[Job]) -> list[LiveState]:
        """Return the live state of several jobs."""
        return self.read_together(self.read_live_states(jobs))[0]

    def read_live_states(self, jobs: Sequence[Job]) -> Reading[list[LiveState]]:
        """The reading of :meth:`live_states`, in one round trip."""
        commands = [live_state.commands(job, self._keys) for job in jobs]
        rows = iter(none_refused((yield list(chain(*commands)))))
        return [live_state.read(job, list(islice(rows, len(asked)))) for job, asked in zip(jobs, commands, strict=True)]

    def task_workers(self, tasks: Sequence[tuple[str, str]]) -> list[str | None]:
        """Return the id of the worker that started each of *tasks* (job id, task id), or None."""
        rows = self._read([("HGET", self._keys.of(job_id).tasks(job_id), f"{task}/worker") for job_id, task in tasks])
        return [None if row is None else row.decode() for row in rows]


def _position(created: str, job_id: str) -> Position | None:
    return (int(created), job_id) if created else None


def _lacks_values(job: Job) -> bool:
    return any(value is None for value, _ in job.large.values())
