"""The archive as the store knows it: ended jobs that are kept after the server has deleted them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from avtomatika.core.job import Job

from .large_values import load_values
from .records import UNREADABLE, JobFilter, load_job, unreadable

#: Creation in milliseconds and id of a job: its place in all lists.
Position: TypeAlias = tuple[int, str]


@dataclass(frozen=True, slots=True)
class StoredJob:
    """An ended job as the server stores it: the *row* of its JOB_FIELDS, its large *values* by name, its *history* and
    *notes*."""

    id: str
    row: Sequence[bytes | None]
    values: Mapping[str, bytes]
    history: Sequence[bytes]
    notes: Sequence[bytes]

    def load(self) -> Job | None:
        """Return the job; None if the row is empty. It may be an :class:`.records.UnreadableJob`."""
        try:
            return load_job(self.id, self.row, load_values(list(self.values), list(self.values.values())))
        except UNREADABLE as error:
            job = load_job(self.id, self.row)
            return None if job is None else unreadable(job, error)


class Archive(Protocol):
    """A database of ended jobs. Thread-safe; every method raises HistoryUnavailableError."""

    def save(self, stored_jobs: Sequence[StoredJob]) -> frozenset[str]:
        """Store them, or replace them; return the ids of those that are stored. The database refuses the others."""

    def load(self, job_id: str) -> StoredJob | None:
        """Return a job, or None."""

    def find(self, wanted: JobFilter, after: Position | None) -> list[Job]:
        """Return the jobs that match and come *after* a position: one more than ``wanted.limit`` if there are more.
        Large values are omitted."""

    def delete(self, *, ended_before_ms: int, limit: int) -> None:
        """Delete up to *limit* jobs that ended before a time, the oldest first."""

    def close(self) -> None:
        """Disconnect; the next call connects again."""


def merged(
    wanted: JobFilter, live: Iterable[Job], cursor: Position | None, archived: Sequence[Job]
) -> tuple[list[Job], Position | None]:
    """Return a page of the jobs of server and archive, each once, and the position of the next page or None.

    The server has told all jobs up to *cursor*; the archive was read after it, so a job that moved in between is in the
    archive.
    """

    def position(job: Job) -> Position:
        return job.created_ms, job.id

    is_nearer = min if wanted.oldest_first else max
    ends = [] if cursor is None else [cursor]
    if len(archived) > wanted.limit:
        ends.append(position(archived[wanted.limit - 1]))
    end = is_nearer(ends) if ends else None
    found = {job.id: job for job in (*archived, *live)}
    ordered = sorted(found.values(), key=position, reverse=not wanted.oldest_first)
    known = [job for job in ordered if end is None or is_nearer(position(job), end) == position(job)]
    page = known[: wanted.limit]
    return page, position(page[-1]) if len(known) > wanted.limit else end
