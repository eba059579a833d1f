"""The files of jobs as their clients see them: what is there, where to get it, where to send more.

Only what lies below a job's own prefix is a file of it, whatever its result names: that may be an echo.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from avtomatika.core.job import Job
from avtomatika.core.texts import texts_in
from avtomatika.errors import ConflictError, NotFoundError

from .bucket import Bucket, ListedObject, SignedUpload
from .location import Location
from .metadata import Metadata
from .object_keys import client_upload_prefix, job_prefix, job_upload_prefix
from .safe_names import safe_part

#: What a single PUT may bring: the limit of S3 itself.
MAX_UPLOAD_BYTES = 5 * 1024**3
#: How long signed URLs are good for: to begin with, however long it then takes.
DOWNLOAD_SECONDS = 300
UPLOAD_SECONDS = 3600


class JobFiles:
    """For one orchestrator *group*, whose name is in the keys of uploads."""

    def __init__(self, objects: Bucket, *, group: str) -> None:
        self._objects = objects
        self._group = group

    def keeps(self, location: Location) -> bool:
        """Whether it lies in the bucket of results."""
        return self._objects.config.keeps_results(location.bucket)

    def page(self, job_id: str, *, after: str = "", limit: int) -> tuple[list[ListedObject], str | None]:
        """Files of a job by name, beginning after the one called *after*; and the ``after`` of the next page."""
        prefix = job_prefix(job_id)
        found = list(islice(self._objects.below(prefix, after=prefix + after if after else ""), limit + 1))
        more = len(found) > limit
        return found[:limit], self.name_of(found[limit - 1], job_id) if more else None

    def name_of(self, stored: ListedObject, job_id: str) -> str:
        """What a file is called among those of its job."""
        return stored.location.key.removeprefix(job_prefix(job_id))

    def find(self, job: Job, name: str) -> Location:
        """The file that is called *name*, or whose name ends so after a slash.

        Of several that end so it is the one that the job's data name. Raises NotFoundError, or ConflictError where
        there is not one but several.
        """
        if any(part in ("", ".", "..") for part in name.split("/")):  # which a server may resolve
            raise NotFoundError("file", name)
        prefix = job_prefix(job.id)
        exact = self._objects.at(prefix + name)
        if self._objects.exists(exact):
            return exact
        there = [stored.location for stored in self._objects.below(prefix) if not stored.location.is_folder]
        found = [location for location in there if location.key.endswith(f"/{name}")]
        if len(found) > 1:
            found = _named(job, found) or found
        if not found:
            raise NotFoundError("file", name, known=[location.key.rpartition("/")[2] for location in there])
        if len(found) > 1:
            names = ", ".join(location.key.removeprefix(prefix) for location in found)
            raise ConflictError(f"the job has several files called {name!r}: {names}")
        return found[0]

    def download_url(self, location: Location) -> str:
        """A signed URL of a file that :meth:`find` has found."""
        return self._objects.download_url(location, expires_seconds=DOWNLOAD_SECONDS)

    def upload_for(self, job: Job, name: str, *, size: int, sha256: str | None) -> SignedUpload:
        """Where to send a file for a job that there is."""
        return self._upload(job_upload_prefix(job.id), name, size, Metadata(sha256, job.client))

    def upload_of(self, client: str, name: str, *, size: int, sha256: str | None) -> SignedUpload:
        """Where to send a file for any job of *client*."""
        return self._upload(client_upload_prefix(self._group, client), name, size, Metadata(sha256, client))

    def _upload(self, prefix: str, name: str, size: int, metadata: Metadata) -> SignedUpload:
        location = self._objects.at(prefix + safe_part(name))
        return self._objects.signed_upload(location, size=size, metadata=metadata, expires_seconds=UPLOAD_SECONDS)


def _named(job: Job, locations: Iterable[Location]) -> list[Location]:
    texts = {*texts_in(job.result), *texts_in(dict(job.state_history))}
    return [location for location in locations if str(location) in texts]
