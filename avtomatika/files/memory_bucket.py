"""A bucket in memory for tests of handlers: the same names, access rules and limits, without a server."""

from collections.abc import Mapping

import orjson

from avtomatika.core.job import Json
from avtomatika.errors import InvalidInputError

from .bucket import Bucket
from .config import S3Config
from .location import Location
from .metadata import Metadata
from .s3_client import ObjectInfo

#: The bucket to which handlers write.
BUCKET = "testing"


class MemoryBucket(Bucket):
    """Holds the given *values*, by URI, and what handlers write."""

    def __init__(self, values: Mapping[str, Json]) -> None:
        super().__init__(S3Config(bucket=BUCKET))
        self._contents = {uri: orjson.dumps(value) for uri, value in values.items()}
        self._clients: dict[str, str | None] = {}

    @property
    def values(self) -> dict[str, Json]:
        """All values, by URI."""
        return {uri: orjson.loads(content) for uri, content in self._contents.items()}

    def stat(self, location: Location) -> ObjectInfo:
        return ObjectInfo(location, len(self._content(location)), "", client=self._clients.get(str(location)))

    def read(self, location: Location, *, at_most_bytes: int) -> bytes:
        content = self._content(location)
        if len(content) > at_most_bytes:
            raise InvalidInputError(f"{location}: has {len(content)} bytes, but at most {at_most_bytes} are read here")
        return content

    def write(
        self, location: Location, content: bytes, *, metadata: Metadata, content_type: str = "binary/octet-stream"
    ) -> None:
        self._contents[str(location)] = content
        self._clients[str(location)] = metadata.client

    def download_url(self, location: Location, *, expires_seconds: int) -> str:
        return f"https://{location.bucket}.example/{location.key}?expires={expires_seconds}"

    def _content(self, location: Location) -> bytes:
        if str(location) not in self._contents:
            raise InvalidInputError(f"{location}: there is no such key")
        return self._contents[str(location)]
