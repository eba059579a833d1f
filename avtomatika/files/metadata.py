"""What an object of ours carries beside its content: its SHA-256, and whose it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

_SHA256 = "sha256"
_CLIENT = "client"
#: How S3 calls metadata among the headers of a request.
HEADER_PREFIX = "x-amz-meta-"


@dataclass(frozen=True, slots=True)
class Metadata:
    """Both are None where nobody has said."""

    sha256: str | None = None
    client: str | None = None

    def as_headers(self) -> dict[str, str]:
        """As S3 keeps it: ASCII, whatever clients are called."""
        client = None if self.client is None else quote(self.client, safe="")
        return {name: value for name, value in ((_SHA256, self.sha256), (_CLIENT, client)) if value is not None}


def read_metadata(answer: Mapping[str, Any]) -> Metadata:
    """The metadata in what S3 answers to HEAD and GET."""
    found = answer.get("Metadata", {})
    client = found.get(_CLIENT)
    return Metadata(found.get(_SHA256), None if client is None else unquote(client))
