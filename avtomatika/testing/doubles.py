"""Replacements for skills, decisions and the bucket in tests."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from avtomatika.core.job import Json
from avtomatika.errors import InvalidInputError
from avtomatika.files.bucket import Bucket
from avtomatika.files.config import S3Config
from avtomatika.files.location import Location
from avtomatika.files.s3_client import Metadata, ObjectInfo
from avtomatika.worker.skill import Skill

#: The bucket to which handlers write.
BUCKET = "testing"


class _Absent:
    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


#: As a skill: no worker takes the task, so its ``dispatch_timeout`` expires, if any. As a decision: no person decides.
NEVER_TAKEN: Final = _Absent("NEVER_TAKEN")
#: As a skill: a worker takes the task and never answers, so its ``result_timeout`` expires, if any.
NEVER_ANSWERS: Final = _Absent("NEVER_ANSWERS")


def skill(name: str, given: Any) -> Skill:
    """Return the skill *name* from *given*: a skill, a function, an exception to raise, or a result."""
    if isinstance(given, Skill):
        return given
    if isinstance(given, BaseException) or (isinstance(given, type) and issubclass(given, BaseException)):
        return Skill.of(lambda: _raise(given), name)
    return Skill.of(given if callable(given) else lambda: given, name)


def _raise(error: BaseException | type[BaseException]) -> None:
    raise error


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

    def read(self, location: Location, at_most_bytes: int) -> bytes:
        content = self._content(location)
        if len(content) > at_most_bytes:
            raise InvalidInputError(f"{location}: has {len(content)} bytes, but at most {at_most_bytes} are read here")
        return content

    def write(
        self, location: Location, content: bytes, metadata: Metadata, content_type: str = "application/json"
    ) -> None:
        self._contents[str(location)] = content
        self._clients[str(location)] = metadata.client

    def download_url(self, location: Location, *, expires_seconds: int) -> str:
        return f"https://{location.bucket}.example/{location.key}?expires={expires_seconds}"

    def _content(self, location: Location) -> bytes:
        if str(location) not in self._contents:
            raise InvalidInputError(f"{location}: there is no such key")
        return self._contents[str(location)]
