"""The bucket of results for orchestrators and the web: small objects, listings and signed URLs.

A signed URL gives access to everyone who has it: it is returned to its client only, never logged or put into a message.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

from avtomatika.errors import SettingsError

from .config import S3Config
from .location import Location
from .s3_client import HEADER_PREFIX, Metadata, ObjectInfo, S3Client

#: Concurrent requests; further ones wait.
_CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class SignedUpload:
    """A URL for a PUT request, and the *headers* that the request must carry."""

    location: Location
    url: str
    headers: Mapping[str, str]


class Bucket(S3Client):
    """The S3 client of processes that transfer no files themselves; thread-safe."""

    def __init__(self, config: S3Config) -> None:
        """Send nothing and do not load boto3 before the first request."""
        if config.bucket is None:
            raise SettingsError("S3_BUCKET is not set: files of jobs need a bucket")
        super().__init__(config, connections=_CONNECTIONS)
        self.bucket = config.bucket

    def close(self) -> None:
        """Close the connections; no request may follow."""
        super().close()
        with self._lock:
            if "_signing" in vars(self):
                self._signing.close()

    def location(self, key: str) -> Location:
        """Return the location of *key* in this bucket."""
        return Location(self.bucket, key)

    def list_prefix(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose keys start with *prefix* and sort after the key *after*, by key."""
        return self.list(self.location(prefix), after=after)

    def check(self) -> None:
        """Raise TaskError unless the bucket can be read and written."""
        from .boto_client import check_read, check_write

        with self._translated_errors(self.location("")):
            check_read(self.boto, self.bucket)
            check_write(self.boto, self.bucket)

    def download_url(self, location: Location, *, expires_seconds: int) -> str:
        """Return a URL that downloads the object as an attachment, so that browsers save it and do not show it."""
        name = quote(location.key.rpartition("/")[2], safe="")
        params = {
            "Bucket": location.bucket,
            "Key": location.key,
            "ResponseContentDisposition": f"attachment; filename*=UTF-8''{name}",
        }
        with self._translated_errors(location):
            url: str = self._signer.generate_presigned_url("get_object", Params=params, ExpiresIn=expires_seconds)
        return url

    def signed_upload(self, location: Location, *, size: int, metadata: Metadata, expires_seconds: int) -> SignedUpload:
        """Return a URL that accepts *size* bytes and creates an object with *metadata*."""
        named = metadata.as_headers()
        params = {"Bucket": location.bucket, "Key": location.key, "ContentLength": size, "Metadata": named}
        with self._translated_errors(location):
            url: str = self._signer.generate_presigned_url("put_object", Params=params, ExpiresIn=expires_seconds)
        headers = {"Content-Length": str(size), **{HEADER_PREFIX + name: value for name, value in named.items()}}
        return SignedUpload(location, url, headers)

    @property
    def _signer(self) -> Any:
        """Signs URLs for the address at which clients reach the server."""
        public = self.config.public_endpoint_url
        if public is None:
            return self.boto
        with self._lock:
            return self._signing

    @cached_property
    def _signing(self) -> Any:
        from .boto_client import connect

        return connect(self.config, connections=1, endpoint_url=self.config.public_endpoint_url)
