"""Deletes files of jobs: when a job finishes, with the job, or by age.

Only keys that match the form of this project's keys completely are deleted. All methods are idempotent.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from avtomatika.core.file_reference import references_in
from avtomatika.core.job import Job
from avtomatika.core.texts import texts_in
from avtomatika.environment import choice, integer, variable, variables_of

from .bucket import Bucket
from .claim_check import load
from .location import Location
from .object_keys import is_job_file, is_upload, job_of, job_prefix
from .s3_client import ObjectInfo

logger = logging.getLogger(__name__)

#: Concurrent deletions. Each is one request: not every server supports deleting many objects at once.
_AT_A_TIME = 8
#: Objects of a listing that are checked together.
_BATCH = 1000
#: A worker that has not learned of the end of a job may upload files for this long after it.
_INTERMEDIATE_AFTER_SECONDS = 60.0


class Cleanup(StrEnum):
    KEEP = "keep"  # nothing is deleted
    DELETE_INTERMEDIATE = "delete-intermediate"  # when a job finishes, the files that its result does not name;
    # of a job that does not finish all with it
    DELETE = "delete"  # those; and all others with the job, after JOB_TTL_SECONDS


@dataclass(frozen=True, slots=True)
class CleanupRules:
    """*max_age_seconds* applies to files of finished jobs and to uploads; None: no limit."""

    cleanup: Cleanup = variable(choice, "S3_AUTO_CLEANUP", Cleanup.KEEP, words=list(Cleanup))
    max_age_seconds: float | None = variable(integer, "S3_MAX_AGE_SECONDS", minimum=1)

    @classmethod
    def from_environment(cls) -> Self:
        """Read ``S3_AUTO_CLEANUP`` and ``S3_MAX_AGE_SECONDS``; raises SettingsError naming the variable."""
        return cls(**variables_of(cls))

    def seconds_after_end(self, job_ttl_seconds: int) -> tuple[float | None, float | None, float | None]:
        """Return the seconds from the end of a job until its intermediate files, and all its files, are deleted, and
        the latter for one that did not finish."""
        if self.cleanup is Cleanup.KEEP:
            return None, None, None
        unfinished = float(job_ttl_seconds)
        everything = unfinished if self.cleanup is Cleanup.DELETE else None
        return min(_INTERMEDIATE_AFTER_SECONDS, job_ttl_seconds / 2), everything, unfinished


class Cleaner:
    """Deletes files of one orchestrator *group*, never of others. Methods return the number of deleted objects."""

    def __init__(self, bucket: Bucket, *, group: str) -> None:
        self._bucket = bucket
        self._group = group

    def delete_intermediate(self, job_id: str, ended: Iterable[Job]) -> int:
        """Delete the files of a job that no result of *ended* jobs names, by URI or by folder."""
        texts = (text for job in ended for text in self._texts(job))
        named = tuple(text for text in texts if text.startswith(f"s3://{self._bucket.bucket}/"))
        folders = tuple(text for text in named if text.endswith("/"))
        kept = frozenset(named)
        return self._delete(
            stored
            for stored in self._bucket.list_prefix(job_prefix(job_id))
            if is_job_file(stored.location.key, job_id)
            and str(stored.location) not in kept
            and not str(stored.location).startswith(folders)
        )

    def _texts(self, job: Job) -> Iterator[str]:
        """Yield every string in the result of *job*, including those of its large values."""
        yield from texts_in(job.result)
        for reference in references_in(job.result):
            location = Location.parse(reference.uri)
            if location is not None and location.key.startswith(job_prefix(job.id)):
                yield from texts_in(load(reference, location, self._bucket.read))

    def delete_all(self, job_id: str) -> int:
        """Delete all files of a job."""
        found = self._bucket.list_prefix(job_prefix(job_id))
        return self._delete(stored for stored in found if is_job_file(stored.location.key, job_id))

    def delete_older(self, than_ms: int, *, in_use: Callable[[Collection[str]], Collection[str]]) -> int:
        """Delete uploads and files of jobs not *in_use* that were last modified before *than_ms*."""
        deleted, batch = 0, list[ObjectInfo]()
        for stored in self._bucket.list_prefix(f"{self._group}-"):
            if stored.modified_ms < than_ms:
                batch.append(stored)
            if len(batch) == _BATCH:
                deleted += self._delete_unused(batch, in_use)
                batch.clear()
        return deleted + self._delete_unused(batch, in_use)

    def _delete_unused(self, batch: Iterable[ObjectInfo], in_use: Callable[[Collection[str]], Collection[str]]) -> int:
        jobs = {stored: job_of(stored.location.key, self._group) for stored in batch}
        used = in_use({job_id for job_id in jobs.values() if job_id is not None})
        return self._delete(
            stored
            for stored, job_id in jobs.items()
            if (is_upload(stored.location.key, self._group) if job_id is None else job_id not in used)
        )

    def _delete(self, objects: Iterable[ObjectInfo]) -> int:
        with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="file-cleanup") as threads:
            return sum(1 for _ in threads.map(self._bucket.delete, [stored.location for stored in objects]))
