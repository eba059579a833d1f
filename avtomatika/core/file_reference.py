"""References to JSON values in S3: the form of a value that is too large for messages and records."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .job import Json

#: Default limit of a value in messages and records, in bytes of JSON; and the largest limit, which messages can carry.
MAX_INLINE_BYTES = 256 * 1024
LARGEST_INLINE_BYTES = 4_000_000
_FILE, _SHA256, _BYTES = "$file", "sha256", "bytes"
_FIELDS = frozenset((_FILE, _SHA256, _BYTES))


@dataclass(frozen=True, slots=True)
class FileReference:
    """A value in the object at *uri*: *size* bytes of JSON with the checksum *sha256*."""

    uri: str
    sha256: str
    size: int

    def as_json(self) -> dict[str, Json]:
        return {_FILE: self.uri, _SHA256: self.sha256, _BYTES: self.size}


def reference_of(value: Json) -> FileReference | None:
    """Return the reference that *value* consists of, else None.

    >>> reference_of({"$file": "s3://results/a.json", "sha256": "0a", "bytes": 3})
    FileReference(uri='s3://results/a.json', sha256='0a', size=3)
    >>> reference_of({"$file": "s3://results/a.json"}) is None
    True
    """
    if not isinstance(value, dict) or _FILE not in value or value.keys() != _FIELDS:
        return None
    uri, sha256, size = value[_FILE], value[_SHA256], value[_BYTES]
    is_valid = isinstance(uri, str) and uri.startswith("s3://") and isinstance(sha256, str) and type(size) is int
    return FileReference(uri, sha256, size) if is_valid else None


def references_in(value: Json) -> Iterator[FileReference]:
    """Yield every reference in *value*, in order."""
    if isinstance(value, dict):
        if (reference := reference_of(value)) is not None:
            yield reference
        else:
            for item in value.values():
                yield from references_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from references_in(item)


def with_values(value: Json, values: Mapping[str, Json]) -> Json:
    """Return a copy of *value* with references replaced by their *values*, which are by URI."""
    if isinstance(value, dict):
        reference = reference_of(value)
        if reference is not None and reference.uri in values:
            return values[reference.uri]
        return {key: with_values(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [with_values(item, values) for item in value]
    return value
