"""The archive as the store knows it: ended jobs that are kept after the server has deleted them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from avtomatika.core.job import Job

from .job_list import Position as Position, first_page
from .large_values import load_values
from .records import UNREADABLE, JobFilter, load_job, unreadable


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

    ends = [] if cursor is None else [cursor]
    if len(archived) > wanted.limit:
        ends.append(position(archived[wanted.limit - 1]))
    found = {position(job): job for job in (*archived, *live)}
    page, end = first_page(wanted, found, ends)
    return [found[each] for each in page], end
