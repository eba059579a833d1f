"""Objects that lie in memory, for tests of handlers: the same names, rights and limits, and no server."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from avtomatika.core.job import Json
from avtomatika.errors import InvalidInputError

from .bucket import Bucket
from .config import S3Config
from .location import Location
from .metadata import Metadata

#: Where handlers write to.
BUCKET = "testing"


class MemoryBucket(Bucket):
    """Holds the *values* given, by URI, and what is written."""

    def __init__(self, values: Mapping[str, Json]) -> None:
        super().__init__(S3Config(bucket=BUCKET))
        self._contents = {uri: orjson.dumps(value) for uri, value in values.items()}
        self._clients: dict[str, str | None] = {}

    @property
    def values(self) -> dict[str, Json]:
        """What there is, by URI."""
        return {uri: orjson.loads(content) for uri, content in self._contents.items()}

    def client_of(self, location: Location) -> str | None:
        self._content(location)
        return self._clients.get(str(location))

    def read(self, location: Location, *, at_most_bytes: int) -> bytes:
        content = self._content(location)
        if len(content) > at_most_bytes:
            raise InvalidInputError(f"{location}: has {len(content)} bytes, but at most {at_most_bytes} are read here")
        return content

    def write(self, location: Location, content: bytes, *, metadata: Metadata, content_type: str) -> None:
        self._contents[str(location)] = content
        self._clients[str(location)] = metadata.client

    def download_url(self, location: Location, *, expires_seconds: int) -> str:
        return f"https://{location.bucket}.example/{location.key}?expires={expires_seconds}"

    def _content(self, location: Location) -> bytes:
        if str(location) not in self._contents:
            raise InvalidInputError(f"{location}: there is no such key")
        return self._contents[str(location)]
