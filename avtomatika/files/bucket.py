"""The bucket of results for those who carry no files themselves: small objects, listings, signed URLs.

A signed URL opens an object to whoever has it: it goes to its client, and never into a log or a message.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

from avtomatika.errors import InvalidInputError, SettingsError, TransientError

from .config import S3Config
from .location import Location
from .metadata import HEADER_PREFIX, Metadata, read_metadata

#: Requests at a time; who asks at the same time waits.
_CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object as a listing tells of it; *modified_ms* since the epoch, by the server's clock."""

    location: Location
    size: int
    modified_ms: int


@dataclass(frozen=True, slots=True)
class SignedUpload:
    """Where to PUT a file to, and the *headers* that must be sent with it."""

    location: Location
    url: str
    headers: Mapping[str, str]


class Bucket:
    """Threads may share it. What its methods raise are TaskErrors that begin with the URI."""

    def __init__(self, config: S3Config) -> None:
        """Nothing is sent, and boto3 is not loaded, before the first object is asked for."""
        if config.bucket is None:
            raise SettingsError("S3_BUCKET is not set, so there is no place for files of jobs")
        self.config = config
        self.bucket = config.bucket
        self._lock = threading.Lock()

    def close(self) -> None:
        """Give the connections back; nothing may be asked after that."""
        with self._lock:
            for client in {id(made): made for made in map(vars(self).get, ("_connected", "_signing")) if made}.values():
                client.close()

    def at(self, key: str) -> Location:
        """The location of *key* in the bucket of results."""
        return Location(self.bucket, key)

    def client_of(self, location: Location) -> str | None:
        """Whose the object says that it is."""
        with self._told_of(location):
            answer = self._client.head_object(Bucket=location.bucket, Key=location.key)
            return read_metadata(answer).client

    def exists(self, location: Location) -> bool:
        from .s3_errors import ObjectNotFoundError

        try:
            self.client_of(location)
        except ObjectNotFoundError:
            return False
        return True

    def below(self, prefix: str, *, after: str = "") -> Iterator[ListedObject]:
        """The objects whose keys begin with *prefix* and come after the key *after*, by key."""
        folder = self.at(prefix)
        with self._told_of(folder):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix, StartAfter=after
            )
            for page in pages:
                for each in page.get("Contents", ()):
                    modified_ms = round(each["LastModified"].timestamp() * 1000)
                    yield ListedObject(self.at(each["Key"]), each["Size"], modified_ms)

    def read(self, location: Location, *, at_most_bytes: int) -> bytes:
        """All of an object; InvalidInputError where it is larger."""
        with self._told_of(location):
            answer = self._client.get_object(Bucket=location.bucket, Key=location.key)
            with closing(answer["Body"]) as body:
                size: int = answer["ContentLength"]
                if size > at_most_bytes:
                    raise InvalidInputError(f"{location}: has {size} bytes, but at most {at_most_bytes} are read here")
                content: bytes = body.read()
        if len(content) != size:
            raise TransientError(f"{location}: expected {size} bytes, seen {len(content)}")
        return content

    def write(self, location: Location, content: bytes, *, metadata: Metadata, content_type: str) -> None:
        """Make an object, which is there as a whole or not at all."""
        with self._told_of(location):
            self._client.put_object(
                Bucket=location.bucket,
                Key=location.key,
                Body=content,
                Metadata=metadata.as_headers(),
                ContentType=content_type,
            )

    def remove(self, location: Location) -> None:
        """Remove an object; one that is not there is no error."""
        with self._told_of(location):
            self._client.delete_object(Bucket=location.bucket, Key=location.key)

    def check(self) -> None:
        """Raises TaskError unless the bucket can be read and written."""
        from .probing import check_read, check_write

        with self._told_of(self.at("")):
            check_read(self._client, self.bucket)
            check_write(self._client, self.bucket)

    # ------------------------------------------------------------ signed URLs

    def download_url(self, location: Location, *, expires_seconds: int) -> str:
        """A URL that gives the object to whoever has it, as a file to save: browsers do not show it."""
        name = quote(location.key.rpartition("/")[2], safe="")
        params = {
            "Bucket": location.bucket,
            "Key": location.key,
            "ResponseContentDisposition": f"attachment; filename*=UTF-8''{name}",
        }
        with self._told_of(location):
            url: str = self._signer.generate_presigned_url("get_object", Params=params, ExpiresIn=expires_seconds)
        return url

    def signed_upload(self, location: Location, *, size: int, metadata: Metadata, expires_seconds: int) -> SignedUpload:
        """A URL that takes *size* bytes, and makes an object with *metadata* of them."""
        named = metadata.as_headers()
        params = {"Bucket": location.bucket, "Key": location.key, "ContentLength": size, "Metadata": named}
        with self._told_of(location):
            url: str = self._signer.generate_presigned_url("put_object", Params=params, ExpiresIn=expires_seconds)
        headers = {"Content-Length": str(size), **{HEADER_PREFIX + name: value for name, value in named.items()}}
        return SignedUpload(location, url, headers)

    # ------------------------------------------------------------ inside

    @property
    def _client(self) -> Any:
        with self._lock:
            return self._connected

    @property
    def _signer(self) -> Any:
        """Signs for the address that clients know the server by."""
        with self._lock:
            return self._signing

    @cached_property
    def _connected(self) -> Any:
        from .boto_client import connect  # boto3 takes longer to load than a process without files may

        return connect(self.config, connections=_CONNECTIONS)

    @cached_property
    def _signing(self) -> Any:
        from .boto_client import connect

        public = self.config.public_endpoint_url
        return connect(self.config, connections=1, endpoint_url=public) if public else self._connected

    def _told_of(self, location: Location) -> AbstractContextManager[None]:
        from .s3_errors import translated_errors

        return translated_errors(location)
