"""Claim check: large JSON values are stored in S3, and messages and records carry references to them.

The form of a reference is that of ``core.file_reference``.
"""

from collections.abc import Callable
from hashlib import sha256

import orjson

from avtomatika.core.file_reference import FileReference
from avtomatika.core.job import Json
from avtomatika.errors import TaskError, TransientError

from .location import Location
from .s3_client import Metadata
from .safe_names import UniqueNames

#: Writes content with metadata to a location.
Write = Callable[[Location, bytes, Metadata], None]
#: Reads an object up to a maximum number of bytes.
Read = Callable[[Location, int], bytes]
#: Name of a value other than an object, and of an object that is stored whole.
_WHOLE = "data"
#: Approximate size of a reference as JSON; smaller values stay where they are.
_REFERENCE_BYTES = 400


class ValueWriter:
    """Stores values of *client* below *prefix* in *bucket*, each under a name of its own."""

    def __init__(self, bucket: str, prefix: str, write: Write, *, client: str | None) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._write = write
        self._client = client
        self._names = UniqueNames()

    def store(self, name: str, content: bytes) -> FileReference:
        """Store *content*, which is JSON, and return the reference to it. Raise TaskError."""
        digest = sha256(content).hexdigest()
        location = Location(self._bucket, f"{self._prefix}{self._names.name_for(name.replace('/', '_') + '.json')}")
        self._write(location, content, Metadata(digest, self._client))
        return FileReference(str(location), digest, len(content))

    def fit(self, data: Json, *, limit: int) -> Json:
        """Return *data* with its largest top-level values stored, so that it has at most *limit* bytes of JSON.

        Data other than an object, or an object of too many small values, is stored whole.
        """
        encoded = {name: orjson.dumps(value) for name, value in data.items()} if isinstance(data, dict) else {}
        left = sum(len(orjson.dumps(name)) + len(text) + 2 for name, text in encoded.items()) + 2
        stored: dict[str, bytes] = {}
        for name in sorted(encoded, key=lambda name: len(encoded[name]), reverse=True):
            if left <= limit or len(encoded[name]) <= _REFERENCE_BYTES:
                break
            stored[name] = encoded[name]
            left -= len(encoded[name]) - _REFERENCE_BYTES
        if not encoded or left > limit:
            return self.store(_WHOLE, orjson.dumps(data)).as_json()
        return {**data, **{name: self.store(name, text).as_json() for name, text in stored.items()}}


def load(reference: FileReference, location: Location, read: Read) -> Json:
    """Return the value of *reference*, which is at *location*. Raise TransientError if it is missing or different."""
    try:
        content = read(location, reference.size)
    except TransientError:
        raise
    except TaskError as error:
        raise TransientError(str(error)) from error
    digest = sha256(content).hexdigest()
    if digest != reference.sha256:
        raise TransientError(f"{location}: expected SHA-256 {reference.sha256}, seen {digest}")
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise TransientError(f"{location}: is not JSON: {error}") from None
