"""Reads jobs: their records, and the large values that are stored separately."""

from collections.abc import Sequence
from itertools import islice

from redis.exceptions import RedisError

from avtomatika.core.job import Job
from avtomatika.transport import RedisClient

from .keys import Keys
from .large_values import ValueCache, Values, load_values
from .records import JOB_FIELDS, load_job, unreadable
from .scripts import read_all, read_hashes

#: Attempts to read a job whose large values are replaced between two reads.
_ATTEMPTS = 5


class JobReader:
    """Reads the jobs of one server. Thread-safe."""

    def __init__(self, server: RedisClient, keys: Keys, *, cache_bytes: int) -> None:
        self._server = server
        self._keys = keys
        #: The large values that were read or written most recently.
        self.cache = ValueCache(cache_bytes)

    def summaries(self, job_ids: Sequence[str]) -> list[Job | None]:
        """Return jobs in the order of *job_ids*, without their large values. Raises UnavailableError."""
        return [load_job(job_id, row) for job_id, row in zip(job_ids, self._rows(job_ids), strict=True)]

    def jobs(self, job_ids: Sequence[str]) -> list[Job | None]:
        """Return whole jobs in the order of *job_ids*: one round trip, and a second one for large values. Raises
        UnavailableError."""
        rows = dict(zip(job_ids, self._rows(job_ids), strict=True))
        found = {job_id: load_job(job_id, row) for job_id, row in rows.items()}
        for _ in range(_ATTEMPTS):
            incomplete = [job for job in found.values() if job is not None and _lacks_values(job)]
            if not incomplete:
                break
            replaced = []
            for job, values in zip(incomplete, self._values(incomplete), strict=True):
                if len(values) == len(job.large):
                    found[job.id] = load_job(job.id, rows[job.id], values)
                else:
                    replaced.append(job.id)
            for job_id, row in zip(replaced, self._rows(replaced), strict=True):
                rows[job_id], found[job_id] = row, load_job(job_id, row)
        lost = LookupError("a large value of the job is missing")
        return [
            unreadable(job, lost) if job is not None and _lacks_values(job) else job
            for job in (found[job_id] for job_id in job_ids)
        ]

    def _rows(self, job_ids: Sequence[str]) -> list[Sequence[bytes | None] | RedisError]:
        return read_hashes(self._server, [self._keys.job(job_id) for job_id in job_ids], JOB_FIELDS)

    def _values(self, jobs: Sequence[Job]) -> list[Values]:
        """Return the large values of each of *jobs* that still exist."""
        known = [
            {name: value for name in job.large if (value := self.cache.get(job.id, name)) is not None} for job in jobs
        ]
        wanted = [[name for name in job.large if name not in values] for job, values in zip(jobs, known, strict=True)]
        commands = [("HMGET", self._keys.job(job.id), *names) for job, names in zip(jobs, wanted, strict=True) if names]
        rows = iter(read_all(self._server, commands))
        for job, names, values in zip(jobs, wanted, known, strict=True):
            for row in islice(rows, 1 if names else 0):
                read = load_values(names, row)
                self.cache.add(job.id, read)
                values.update(read)
        return list(known)


def _lacks_values(job: Job) -> bool:
    return any(value is None for value, _ in job.large.values())
