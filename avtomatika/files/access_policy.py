"""Who may read what: texts in params are anybody's, so what they name is fetched for their client only.

In other buckets ``S3_ALLOWED_BUCKETS`` decides. In the bucket of results a job reads its own files, what its client has
uploaded, files of other jobs of the same client (which their metadata must say), and what is none of ours.
"""

from __future__ import annotations

from dataclasses import dataclass

from avtomatika.errors import InvalidInputError

from .config import S3Config
from .location import Location
from .object_keys import job_prefix, owner_of, uploader


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """For whom objects are read: a job, and its client (None where nobody says)."""

    job_id: str
    client: str | None = None

    def check(self, location: Location, config: S3Config) -> None:
        """Raise InvalidInputError where *location*, an object or a folder, is not for this reader whatever it is."""
        if not config.allows(location.bucket):
            raise InvalidInputError(f"{location}: bucket {location.bucket!r} is not among S3_ALLOWED_BUCKETS")
        if not config.keeps_results(location.bucket):
            return
        *folders, last = location.key.split("/")
        if any(part in ("", ".", "..") for part in folders) or last in (".", ".."):  # which a server may resolve
            raise InvalidInputError(f"{location}: in the bucket of results no part of a key may be empty, '.' or '..'")
        if location.key.startswith(job_prefix(self.job_id)):
            return
        if location.key == "":
            raise InvalidInputError(f"{location}: all of the bucket of results is more than one client's")
        owner = owner_of(location.key)
        if owner is None:
            return
        is_own_upload = self.client is not None and owner == uploader(self.client)
        if not is_own_upload and (owner.job_id is None or self.client is None):
            raise _not_theirs(location)

    def check_listing(self, location: Location, config: S3Config) -> None:
        """The same for all keys that begin like *location*, which need not be a folder."""
        if config.keeps_results(location.bucket) and "/" not in location.key:
            raise InvalidInputError(f"{location}: in the bucket of results name at least a folder, with its slash")
        self.check(location, config)

    def needs_proof(self, location: Location, config: S3Config) -> bool:
        """Whether it is allowed only if the object's metadata names the client: it is of another job."""
        if not config.keeps_results(location.bucket) or location.key.startswith(job_prefix(self.job_id)):
            return False
        owner = owner_of(location.key)
        return owner is not None and owner.job_id is not None

    def check_proof(self, location: Location, client: str | None) -> None:
        """Raise InvalidInputError unless the object, which says that it is *client*'s, is the reader's client's."""
        if self.client is None or client != self.client:
            raise _not_theirs(location)


def _not_theirs(location: Location) -> InvalidInputError:
    return InvalidInputError(f"{location}: there is no such key that this job may read")
