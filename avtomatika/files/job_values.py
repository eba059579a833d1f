"""Large values of jobs in S3, for orchestrators: loaded for handlers, and stored for what handlers decide."""

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

from avtomatika.core.file_reference import FileReference
from avtomatika.core.job import Job, Json
from avtomatika.errors import InvalidInputError

from .access_policy import AccessPolicy
from .bucket import Bucket
from .claim_check import ValueWriter, load
from .location import Location
from .object_keys import handler_prefix, is_job_file

#: Maximum size of all values that one handler needs, and of the cache.
MAX_LOADED_BYTES = 64 * 1024 * 1024
#: Lifetime of a link in a webhook.
LINK_SECONDS = 24 * 3600


class JobValues:
    """Values in *bucket*; those above *limit* bytes of JSON belong there. Thread-safe."""

    def __init__(self, bucket: Bucket, *, limit: int) -> None:
        self.limit = limit
        self._bucket = bucket
        self._cache: OrderedDict[str, tuple[Json, int]] = OrderedDict()
        self._lock = Lock()

    def load(self, job: Job, references: Sequence[FileReference]) -> dict[str, Json]:
        """Return the values of *references* by URI, which must not be changed. Raise TaskError."""
        size = sum(reference.size for reference in references)
        if size > MAX_LOADED_BYTES:
            raise InvalidInputError(
                f"the handler takes {len(references)} values in S3 of together {size} bytes, but at most "
                f"{MAX_LOADED_BYTES} are loaded: take those that it needs by name"
            )
        return {reference.uri: self._load(job, reference) for reference in references}

    def writer(self, job: Job) -> ValueWriter:
        """Return a writer for values that a handler of *job* made."""
        bucket, prefix = self._bucket, handler_prefix(job.id, job.version)
        return ValueWriter(bucket.bucket, prefix, bucket.write, client=job.client or None)

    def links(self, job_id: str, references: Sequence[FileReference]) -> dict[str, str]:
        """Return signed URLs, by URI, of those values that belong to the job."""
        found = {reference.uri: Location.parse(reference.uri) for reference in references}
        return {
            uri: self._bucket.download_url(location, expires_seconds=LINK_SECONDS)
            for uri, location in found.items()
            if location is not None and location.bucket == self._bucket.bucket and is_job_file(location.key, job_id)
        }

    def _load(self, job: Job, reference: FileReference) -> Json:
        policy = AccessPolicy(self._bucket.config, job.id, job.client or None)
        location = policy.authorize(reference.uri, lambda place: self._bucket.stat(place).client)
        with self._lock:
            if reference.uri in self._cache:
                self._cache.move_to_end(reference.uri)
                return self._cache[reference.uri][0]
        value = load(reference, location, self._bucket.read)
        with self._lock:
            self._cache[reference.uri] = value, reference.size
            while sum(size for _, size in self._cache.values()) > MAX_LOADED_BYTES:
                self._cache.popitem(last=False)
        return value
