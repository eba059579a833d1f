"""``task_files`` of a handler: JSON in the bucket of results, and links to files there.

Handlers are short, so these files are small; large ones belong to workers.
"""

import asyncio
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

import orjson

from avtomatika.core.blueprint.awaitable import awaitable
from avtomatika.core.job import Job, Json
from avtomatika.core.jsonable import as_json
from avtomatika.core.times import Duration, in_seconds
from avtomatika.errors import HandlerError, InvalidInputError

from .access_policy import AccessPolicy
from .bucket import Bucket
from .location import Location
from .object_keys import handler_prefix
from .s3_client import Metadata
from .safe_names import parts_of

T = TypeVar("T")

#: Limit of a value that a handler reads or writes.
MAX_JSON_BYTES = 8 * 1024 * 1024
#: Default lifetime of a link, and the longest that S3 allows.
URL_SECONDS = 3600
LONGEST_URL_SECONDS = 7 * 24 * 3600


def files_for(bucket: Bucket | None, job: Job, is_async: bool) -> "HandlerFiles | AsyncHandlerFiles":
    """Return the files of *job* for a handler; without *bucket* each use raises HandlerError."""
    files = HandlerFiles(bucket, job)
    return AsyncHandlerFiles(files) if is_async else files


class HandlerFiles:
    """For sync handlers."""

    def __init__(self, bucket: Bucket | None, job: Job) -> None:
        self._given_bucket = bucket
        self._job = job

    def read_json(self, uri: str) -> Json:
        """Return the value in the object at *uri*, which may have up to 8 MiB."""
        location = self._authorized(uri)
        content = self._bucket.read(location, at_most_bytes=MAX_JSON_BYTES)
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise InvalidInputError(f"{location}: is not JSON: {error}") from None

    def write_json(self, name: str, value: Any) -> str:
        """Write *value* to a new file of the job and return its URI, which differs each time the handler runs."""
        parts = parts_of(name)
        content = orjson.dumps(as_json(value, f"task_files.write_json({name!r})"))
        if len(content) > MAX_JSON_BYTES:
            raise HandlerError(f"task_files.write_json({name!r}): has {len(content)} bytes, at most {MAX_JSON_BYTES}")
        location = self._bucket.location(self._prefix + "/".join(parts))
        self._bucket.write(location, content, Metadata(client=self._job.client or None))
        return str(location)

    def url(self, uri: str, *, expires_in: Duration = URL_SECONDS) -> str:
        """Return a public link to the object, valid for *expires_in*: seconds or a timedelta, at most 7 days."""
        seconds = in_seconds(expires_in)
        if not 1 <= seconds <= LONGEST_URL_SECONDS:
            message = f"expires_in is {expires_in!r}, but must be 1 to {LONGEST_URL_SECONDS} s"
            raise HandlerError(f"task_files.url: {message}")
        location = self._authorized(uri)
        if location.is_folder:
            raise InvalidInputError(f"{location}: is a folder; links lead to objects only")
        return self._bucket.download_url(location, expires_seconds=int(seconds))

    @property
    def _bucket(self) -> Bucket:
        if self._given_bucket is None:
            raise HandlerError("task_files: this orchestrator has no S3: S3_BUCKET is not set")
        return self._given_bucket

    @cached_property
    def _prefix(self) -> str:
        return handler_prefix(self._job.id, self._job.version)

    def _authorized(self, uri: str) -> Location:
        """Return the location of *uri* if this job may read it: the URI may come from a client."""
        policy = AccessPolicy(self._bucket.config, self._job.id, self._job.client or None)
        return policy.authorize(uri, lambda location: self._bucket.stat(location).client)


class AsyncHandlerFiles:
    """For async handlers: all methods are awaited."""

    def __init__(self, files: HandlerFiles) -> None:
        self._files = files

    read_json = awaitable(HandlerFiles.read_json)
    write_json = awaitable(HandlerFiles.write_json)
    url = awaitable(HandlerFiles.url)

    def _blocking(self) -> HandlerFiles:
        return self._files

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await asyncio.to_thread(function)
