"""Decides which objects a job may read. Clients control the texts in params, so a job reads only for its client.

In other buckets ``S3_ALLOWED_BUCKETS`` decides. In the bucket of results a job may read its own files, uploads of its
client, files of other jobs of that client (as their metadata must state), and objects whose keys do not have the form
of this project's keys.
"""

from collections.abc import Callable
from dataclasses import dataclass

from avtomatika.errors import InvalidInputError

from .config import S3Config
from .location import Location
from .object_keys import job_prefix, owner_of, uploader


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """The rules for a job and its client (None if the job has none)."""

    config: S3Config
    job_id: str
    client: str | None = None

    def authorize(self, uri: str, client_of_object: Callable[[Location], str | None]) -> Location:
        """Return the location of the object at *uri* if the job may read it. Raise InvalidInputError.

        *client_of_object* is called only if it belongs to another job.
        """
        location = Location.of(uri)
        self.check_key(location)
        self.check_owner(location, lambda: client_of_object(location))
        return location

    def check_key(self, location: Location) -> None:
        """Raise InvalidInputError if the bucket or key alone forbids reading *location*, an object or a folder."""
        if not self.config.allows(location.bucket):
            raise InvalidInputError(f"{location}: bucket {location.bucket!r} is not among S3_ALLOWED_BUCKETS")
        if not self.config.keeps_results(location.bucket):
            return
        *folders, last = location.key.split("/")
        if any(part in ("", ".", "..") for part in folders) or last in (".", ".."):  # which a server may resolve
            raise InvalidInputError(f"{location}: in the bucket of results no part of a key may be empty, '.' or '..'")
        if location.key.startswith(job_prefix(self.job_id)):
            return
        if location.key == "":
            raise InvalidInputError(f"{location}: the bucket of results holds files of other clients: name a folder")
        owner = owner_of(location.key)
        if owner is None:
            return
        is_own_upload = self.client is not None and owner == uploader(self.client)
        if not is_own_upload and (owner.job_id is None or self.client is None):
            raise _not_readable(location)

    def check_prefix(self, location: Location) -> None:
        """Do the same for all keys that start with that of *location*, which need not be a folder."""
        if self.config.keeps_results(location.bucket) and "/" not in location.key:
            raise InvalidInputError(f"{location}: in the bucket of results name at least a folder, with its slash")
        self.check_key(location)

    def check_owner(self, location: Location, client_of_object: Callable[[], str | None]) -> None:
        """Raise InvalidInputError if the object belongs to another job and its metadata names another client.

        *client_of_object* is called only if *location* belongs to another job.
        """
        if not self.config.keeps_results(location.bucket) or location.key.startswith(job_prefix(self.job_id)):
            return
        owner = owner_of(location.key)
        if owner is None or owner.job_id is None:
            return
        if self.client is None or client_of_object() != self.client:
            raise _not_readable(location)


def _not_readable(location: Location) -> InvalidInputError:
    return InvalidInputError(f"{location}: there is no such key that this job may read")
