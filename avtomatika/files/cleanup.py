"""Removing files of jobs that nobody needs any more: at the end of a job, with the job, or by age.

Only keys that are ours by all of their parts are ever removed. Whatever is done here can be done again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

from avtomatika.core.job import Job
from avtomatika.core.texts import texts_in
from avtomatika.errors import SettingsError

from .bucket import Bucket, ListedObject
from .object_keys import is_job_file, is_upload, job_of, job_prefix

logger = logging.getLogger(__name__)

#: Objects that are removed at a time. One by one: not every server knows how to remove many with one request.
_AT_A_TIME = 8
#: Objects of a listing that are looked at together.
_BATCH = 1000


class Cleanup(StrEnum):
    KEEP = "keep"  # nothing goes
    DELETE_INTERMEDIATE = "delete-intermediate"  # when a job ends, what its result does not name
    DELETE = "delete"  # that; and the rest with the job itself, after JOB_TTL_SECONDS


@dataclass(frozen=True, slots=True)
class CleanupRules:
    """*max_age_seconds* is for files of jobs that are over, and for uploads; None: no age is too old."""

    cleanup: Cleanup = Cleanup.KEEP
    max_age_seconds: float | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> CleanupRules:
        """Read ``S3_AUTO_CLEANUP`` and ``S3_MAX_AGE_SECONDS``; raises SettingsError naming the variable."""
        word = environ.get("S3_AUTO_CLEANUP", "").strip() or Cleanup.KEEP
        if word not in list(Cleanup):
            raise SettingsError(f"S3_AUTO_CLEANUP={word!r}: must be one of {', '.join(Cleanup)}")
        age = environ.get("S3_MAX_AGE_SECONDS", "").strip()
        if age and not (age.isdecimal() and int(age) > 0):
            raise SettingsError(f"S3_MAX_AGE_SECONDS={age!r}: must be a whole number of seconds above 0")
        return cls(Cleanup(word), float(age) if age else None)


class Cleaner:
    """For one orchestrator *group*; files of others are foreign. Methods answer how many objects went."""

    def __init__(self, objects: Bucket, *, group: str) -> None:
        self._objects = objects
        self._group = group

    def remove_intermediate(self, job: Job) -> int:
        """What the result of an ended job does not name, as an object or by its folder."""
        named = tuple(text for text in texts_in(job.result) if text.startswith(f"s3://{self._objects.bucket}/"))
        folders = tuple(text for text in named if text.endswith("/"))
        kept = frozenset(named)
        return self._remove(
            stored
            for stored in self._objects.below(job_prefix(job.id))
            if is_job_file(stored.location.key, job.id)
            and str(stored.location) not in kept
            and not str(stored.location).startswith(folders)
        )

    def remove_all(self, job_id: str) -> int:
        """All files of a job."""
        found = self._objects.below(job_prefix(job_id))
        return self._remove(stored for stored in found if is_job_file(stored.location.key, job_id))

    def remove_older(self, than_ms: int, *, in_use: Callable[[Collection[str]], Collection[str]]) -> int:
        """Uploads, and files of jobs that are not *in_use*, which were last written before *than_ms*."""
        removed, batch = 0, list[ListedObject]()
        for stored in self._objects.below(f"{self._group}-"):
            if stored.modified_ms < than_ms:
                batch.append(stored)
            if len(batch) == _BATCH:
                removed += self._remove_unused(batch, in_use)
                batch.clear()
        return removed + self._remove_unused(batch, in_use)

    def _remove_unused(
        self, batch: Iterable[ListedObject], in_use: Callable[[Collection[str]], Collection[str]]
    ) -> int:
        jobs = {stored: job_of(stored.location.key, self._group) for stored in batch}
        used = in_use({job_id for job_id in jobs.values() if job_id is not None})
        return self._remove(
            stored
            for stored, job_id in jobs.items()
            if (is_upload(stored.location.key, self._group) if job_id is None else job_id not in used)
        )

    def _remove(self, doomed: Iterable[ListedObject]) -> int:
        with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="cleaning") as threads:
            return sum(1 for _ in threads.map(self._objects.remove, [stored.location for stored in doomed]))
