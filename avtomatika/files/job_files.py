"""The files of jobs for their clients: listing, download and upload.

Only objects below a job's own prefix are its files. Its result may name others, which clients control.
"""

from collections.abc import Iterable
from contextlib import suppress
from functools import cached_property
from itertools import islice
from urllib.parse import urlsplit

from avtomatika.core.job import Job
from avtomatika.core.texts import texts_in
from avtomatika.errors import ConflictError, NotFoundError

from .bucket import Bucket, SignedUpload
from .location import Location
from .object_keys import client_upload_prefix, job_prefix, job_upload_prefix
from .s3_client import Metadata, ObjectInfo
from .safe_names import safe_part

#: Largest single PUT: the limit of S3.
MAX_UPLOAD_BYTES = 5 * 1024**3
#: Lifetimes of signed URLs; a transfer that has started may take longer.
DOWNLOAD_SECONDS = 300
UPLOAD_SECONDS = 3600
#: Names that the error about an unknown file may suggest.
_NAMES = 1000


class JobFiles:
    """The files of the jobs of one orchestrator *group*, whose name is part of the keys of uploads."""

    def __init__(self, bucket: Bucket, *, group: str) -> None:
        self._bucket = bucket
        self._group = group

    def keeps(self, location: Location) -> bool:
        """Return whether *location* is in the bucket of results."""
        return self._bucket.config.keeps_results(location.bucket)

    def page(self, job_id: str, *, after: str = "", limit: int) -> tuple[list[ObjectInfo], str | None]:
        """Return up to *limit* files of a job after the name *after*, and ``after`` of the next page."""
        prefix = job_prefix(job_id)
        found = list(islice(self._bucket.list_prefix(prefix, after=prefix + after if after else ""), limit + 1))
        more = len(found) > limit
        return found[:limit], self.name_of(found[limit - 1], job_id) if more else None

    def name_of(self, stored: ObjectInfo, job_id: str) -> str:
        """Return the name of a file relative to its job."""
        return stored.location.key.removeprefix(job_prefix(job_id))

    def find(self, job: Job, name: str) -> Location:
        """Return the file called *name*, or else the one whose name ends in a slash and *name*, of the job or else of
        one that it continues.

        Of several such files it is the one that the job's data names. Raise NotFoundError if there is none, and
        ConflictError if several remain.
        """
        if any(part in ("", ".", "..") for part in name.split("/")):  # which a server may resolve
            raise NotFoundError("file", name)
        for owner_id in (job.id, *reversed(job.origins or ())):
            with suppress(NotFoundError):
                return self._find(job, owner_id, name)
        known = [self.name_of(each, job.id).rpartition("/")[2] for each in self.page(job.id, limit=_NAMES)[0]]
        raise NotFoundError("file", name, known=known)

    def _find(self, job: Job, owner_id: str, name: str) -> Location:
        prefix = job_prefix(owner_id)
        exact = self._bucket.location(prefix + name)
        if self._bucket.exists(exact):
            return exact
        files = [stored.location for stored in self._bucket.list_prefix(prefix) if not stored.location.is_folder]
        found = [location for location in files if location.key.endswith(f"/{name}")]
        if len(found) > 1:
            found = _named(job, found) or found
        if not found:
            raise NotFoundError("file", name)
        if len(found) > 1:
            names = ", ".join(location.key.removeprefix(prefix) for location in found)
            raise ConflictError(f"the job has several files called {name!r}: {names}")
        return found[0]

    def download_url(self, location: Location) -> str:
        """Return a signed URL of a file that :meth:`find` returned."""
        return self._bucket.download_url(location, expires_seconds=DOWNLOAD_SECONDS)

    @cached_property
    def origin(self) -> str:
        """Scheme and host of the URLs of downloads."""
        parts = urlsplit(self.download_url(self._bucket.location("x")))
        return f"{parts.scheme}://{parts.netloc}"

    def job_upload(self, job: Job, name: str, *, size: int, sha256: str | None) -> SignedUpload:
        """Return a signed URL for uploading a file to an existing job."""
        return self._upload(job_upload_prefix(job.id), name, size, Metadata(sha256, job.client))

    def client_upload(self, client: str, name: str, *, size: int, sha256: str | None) -> SignedUpload:
        """Return a signed URL for uploading a file for later jobs of *client*."""
        return self._upload(client_upload_prefix(self._group, client), name, size, Metadata(sha256, client))

    def _upload(self, prefix: str, name: str, size: int, metadata: Metadata) -> SignedUpload:
        location = self._bucket.location(prefix + safe_part(name))
        return self._bucket.signed_upload(location, size=size, metadata=metadata, expires_seconds=UPLOAD_SECONDS)


def _named(job: Job, locations: Iterable[Location]) -> list[Location]:
    texts = {*texts_in(job.result), *texts_in(dict(job.state_history))}
    return [location for location in locations if str(location) in texts]
