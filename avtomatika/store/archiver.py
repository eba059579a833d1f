"""Archives ended jobs before it deletes them, and deletes those of the archive that are too old."""

from collections.abc import Iterator, Sequence

from redis.exceptions import RedisError

from avtomatika.errors import HistoryUnavailableError
from avtomatika.transport import RedisClient, Router

from .archive import Archive, StoredJob
from .records import JOB_FIELDS
from .sweeper import Sweeper

#: Jobs up to this size together are read and archived at once.
_CHUNK_BYTES = 8 * 1024 * 1024
#: Maximum number of archived jobs that one call deletes, and the interval of the calls.
_DELETED_BATCH, _DELETED_EVERY_SECONDS = 1000, 5
#: The report that the archive is unavailable expires unless it is repeated.
_ERROR_SECONDS = 120
_DAY_MS = 24 * 3600 * 1000


class Archiver(Sweeper):
    """A sweeper that deletes only jobs that *archive* has confirmed."""

    def __init__(
        self, server: RedisClient, router: Router, *, archive: Archive, retention_days: int | None = None
    ) -> None:
        """Archived jobs are deleted *retention_days* after their end; None keeps them."""
        super().__init__(server, router)
        self._archive = archive
        self._retention_days = retention_days

    def run_once(self) -> bool:
        """Archive and delete some jobs; return True if others may be due. Raises UnavailableError."""
        try:
            is_more = self.expire_jobs().is_more
            if self._retention_days is not None and self.claim("archived jobs", seconds=_DELETED_EVERY_SECONDS):
                before_ms = self._clock.now_ms() - self._retention_days * _DAY_MS
                self._archive.delete(ended_before_ms=before_ms, limit=_DELETED_BATCH)
        except HistoryUnavailableError as error:
            self._read([("SET", self._keys.archive_error(), str(error), "EX", _ERROR_SECONDS)])
            raise
        self._read([("DEL", self._keys.archive_error())])
        return is_more

    def _expire(self, job_ids: Sequence[str]) -> int:
        removed = 0
        for chunk in self._chunks(job_ids):
            stored = self._read_stored(chunk)
            saved = self._archive.save(stored)
            refused = {each.id for each in stored} - saved
            self._postpone(sorted(refused))
            removed += super()._expire([job_id for job_id in chunk if job_id not in refused])
        return removed

    def _chunks(self, job_ids: Sequence[str]) -> Iterator[list[str]]:
        """Yield parts of *job_ids* whose jobs fit in memory together."""
        keys = ((job_id, self._keys.of(job_id)) for job_id in job_ids)
        asked = [key(job_id) for job_id, own in keys for key in (own.job, own.history)]
        sizes = [int(size or 0) for size in self._read([("MEMORY", "USAGE", key, "SAMPLES", 0) for key in asked])]
        start, total = 0, 0
        for place, size in enumerate(map(sum, zip(sizes[::2], sizes[1::2], strict=True))):
            total += size
            if place > start and total > _CHUNK_BYTES:
                yield list(job_ids[start:place])
                start, total = place, size
        yield list(job_ids[start:])

    def _read_stored(self, job_ids: Sequence[str]) -> list[StoredJob]:
        """Read jobs; those that the server does not have any more are left out."""
        commands = list[tuple[str | int, ...]]()
        for job_id in job_ids:
            keys = self._keys.of(job_id)
            lists = (keys.history(job_id), keys.notes(job_id))
            commands += [("HGETALL", keys.job(job_id)), *(("LRANGE", key, 0, -1) for key in lists)]
        found = [() if isinstance(row, RedisError) else row for row in self.read_together(self._read_each(commands))[0]]
        stored = []
        for job_id, fields, history, notes in zip(job_ids, found[::3], found[1::3], found[2::3], strict=True):
            known = {name.decode(): value for name, value in zip(fields[::2], fields[1::2], strict=True)}
            values = {name: value for name, value in known.items() if name.startswith("data:")}
            stored.append(StoredJob(job_id, [known.get(name) for name in JOB_FIELDS], values, history, notes))
        return [job for job in stored if any(job.row)]
