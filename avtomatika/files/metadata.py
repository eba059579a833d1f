"""The metadata of objects that this project writes: the SHA-256 of the content, and the client."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

_SHA256 = "sha256"
_CLIENT = "client"
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
