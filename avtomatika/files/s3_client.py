"""The one S3 client: single objects with their metadata, and listings. ``s3_transfer`` builds on it for large files."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote, unquote

from avtomatika.errors import InvalidInputError, TransientError

from .config import S3Config
from .location import Location

_SHA256 = "sha256"
_CLIENT = "client"
#: Kinds of requests, as probes of faults name them.
READ, WRITE = "read", "write"
#: Prefix of metadata in the headers of a request.
HEADER_PREFIX = "x-amz-meta-"


@dataclass(frozen=True, slots=True)
class Metadata:
    """Fields are None if unknown."""

    sha256: str | None = None
    client: str | None = None

    def as_headers(self) -> dict[str, str]:
        """Return the metadata for a request; the client is percent-encoded, because S3 accepts ASCII only."""
        client = None if self.client is None else quote(self.client, safe="")
        return {name: value for name, value in ((_SHA256, self.sha256), (_CLIENT, client)) if value is not None}


def read_metadata(answer: Mapping[str, Any]) -> Metadata:
    """Return the metadata of a response to HEAD or GET."""
    found = answer.get("Metadata", {})
    client = found.get(_CLIENT)
    return Metadata(found.get(_SHA256), None if client is None else unquote(client))


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object in S3. A listing leaves *sha256* and *client* None; *modified_ms* is by the server's clock."""

    location: Location
    size: int
    etag: str
    sha256: str | None = None
    client: str | None = None
    modified_ms: int = 0


class S3Client:
    """Thread-safe. Methods raise TaskErrors whose messages start with the URI."""

    def __init__(self, config: S3Config, *, connections: int) -> None:
        """Send nothing and do not load boto3 before the first request."""
        self.config = config
        self._connections = connections
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections; no request may follow."""
        with self._lock:
            if "_connected" in vars(self):
                self._connected.close()

    def stat(self, location: Location) -> ObjectInfo:
        """Return the object at *location*, with the metadata that uploads of this project set."""
        with self._translated_errors(location):
            answer = self.boto.head_object(Bucket=location.bucket, Key=location.key)
            metadata = read_metadata(answer)
            return _object_info(location, answer["ContentLength"], answer, metadata)

    def exists(self, location: Location) -> bool:
        from .s3_errors import ObjectNotFoundError

        try:
            self.stat(location)
        except ObjectNotFoundError:
            return False
        return True

    def list(self, prefix: Location, *, after: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose keys start with that of *prefix* and sort after the key *after*, by key."""
        with self._translated_errors(prefix):
            start = {"StartAfter": after} if after else {}
            pages = self.boto.get_paginator("list_objects_v2").paginate(
                Bucket=prefix.bucket, Prefix=prefix.key, **start
            )
            for page in pages:
                for entry in page.get("Contents", ()):
                    location = Location(prefix.bucket, entry["Key"])
                    yield _object_info(location, entry["Size"], entry, Metadata())

    def read(self, location: Location, at_most_bytes: int) -> bytes:
        """Return the content of an object. Raise InvalidInputError if it is larger than *at_most_bytes*."""
        with self._translated_errors(location):
            answer = self.boto.get_object(Bucket=location.bucket, Key=location.key)
            with closing(answer["Body"]) as body:
                size: int = answer["ContentLength"]
                if size > at_most_bytes:
                    raise InvalidInputError(f"{location}: has {size} bytes, but at most {at_most_bytes} are read here")
                content: bytes = body.read()
        if len(content) != size:
            raise TransientError(f"{location}: expected {size} bytes, seen {len(content)}")
        return content

    def write(
        self, location: Location, content: bytes, metadata: Metadata, content_type: str = "application/json"
    ) -> None:
        """Create an object with one request: it is stored completely or not at all."""
        with self._translated_errors(location, WRITE):
            self.boto.put_object(
                Bucket=location.bucket,
                Key=location.key,
                Body=content,
                Metadata=metadata.as_headers(),
                ContentType=content_type,
            )

    def delete(self, location: Location) -> None:
        """Delete an object; a missing one is not an error."""
        with self._translated_errors(location, WRITE):
            self.boto.delete_object(Bucket=location.bucket, Key=location.key)

    @property
    def boto(self) -> Any:
        """The client of boto3, created for the first request."""
        with self._lock:
            return self._connected

    @cached_property
    def _connected(self) -> Any:
        from .boto_client import connect  # boto3 loads too slowly for processes that use no files

        return connect(self.config, connections=self._connections)

    def _translated_errors(self, location: Location, request: str = READ) -> AbstractContextManager[None]:
        from .s3_errors import translated_errors

        return translated_errors(location)


def _object_info(location: Location, size: int, answer: Mapping[str, Any], metadata: Metadata) -> ObjectInfo:
    modified = answer.get("LastModified")
    modified_ms = 0 if modified is None else round(modified.timestamp() * 1000)
    return ObjectInfo(location, size, answer["ETag"], metadata.sha256, metadata.client, modified_ms)
