"""What a handler gets when it asks for ``task_files``: JSON in the bucket of results, and links to files there.

Handlers decide and are quick: what is large is for workers.
"""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import Any

import orjson

from avtomatika.core.job import Job, Json
from avtomatika.core.jsonable import as_json
from avtomatika.errors import HandlerError, InvalidInputError

from .access_policy import AccessPolicy
from .bucket import Bucket
from .location import Location
from .metadata import Metadata
from .object_keys import handler_prefix
from .safe_names import parts_of

#: What a handler reads and writes at most.
MAX_JSON_BYTES = 8 * 1024 * 1024
#: How long a link is good for where the handler does not say; and the most that S3 allows.
URL_SECONDS = 3600
LONGEST_URL_SECONDS = 7 * 24 * 3600


def files_for(objects: Bucket | None, job: Job, is_async: bool) -> HandlerFiles | AsyncHandlerFiles:
    """The files of *job* for a handler; without *objects* each use says what is not set."""
    return (AsyncHandlerFiles if is_async else HandlerFiles)(objects, job)


class _Desk:
    def __init__(self, objects: Bucket | None, job: Job) -> None:
        self._given = objects
        self._job = job

    @property
    def _objects(self) -> Bucket:
        if self._given is None:
            raise HandlerError("task_files: this orchestrator has no S3: S3_BUCKET is not set")
        return self._given

    @cached_property
    def _prefix(self) -> str:
        return handler_prefix(self._job.id, self._job.version)

    def _read_json(self, uri: str) -> Json:
        location = self._allowed(uri)
        content = self._objects.read(location, at_most_bytes=MAX_JSON_BYTES)
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise InvalidInputError(f"{location}: is no JSON: {error}") from None

    def _write_json(self, name: str, value: Any) -> str:
        parts = parts_of(name)
        content = orjson.dumps(as_json(value, f"task_files.write_json({name!r})"))
        if len(content) > MAX_JSON_BYTES:
            raise HandlerError(f"task_files.write_json({name!r}): has {len(content)} bytes, at most {MAX_JSON_BYTES}")
        location = self._objects.at(self._prefix + "/".join(parts))
        metadata = Metadata(client=self._job.client or None)
        self._objects.write(location, content, metadata=metadata, content_type="application/json")
        return str(location)

    def _url(self, uri: str, expires_seconds: int) -> str:
        if not 0 < expires_seconds <= LONGEST_URL_SECONDS:
            raise HandlerError(f"task_files.url: expires_seconds is {expires_seconds}, at most {LONGEST_URL_SECONDS}")
        location = self._allowed(uri)
        if location.is_folder:
            raise InvalidInputError(f"{location}: is a folder, and only an object can be linked to")
        return self._objects.download_url(location, expires_seconds=expires_seconds)

    def _allowed(self, uri: str) -> Location:
        """What *uri* names, if this job may read it: it may be whatever a client has written."""
        location = Location.parse(uri)
        if location is None:
            raise InvalidInputError(f"{uri!r} is not of the form s3://bucket/key")
        reader, objects = AccessPolicy(self._job.id, self._job.client or None), self._objects
        reader.check(location, objects.config)
        if reader.needs_proof(location, objects.config):
            reader.check_proof(location, objects.client_of(location))
        return location


class HandlerFiles(_Desk):
    """For sync handlers."""

    def read_json(self, uri: str) -> Json:
        """The value in the object that *uri* names, at most 8 MiB."""
        return self._read_json(uri)

    def write_json(self, name: str, value: Any) -> str:
        """Keep *value* as a file of the job; answers its URI, which is another one each time the handler runs."""
        return self._write_json(name, value)

    def url(self, uri: str, *, expires_seconds: int = URL_SECONDS) -> str:
        """A link by which anybody can fetch the object, for so long."""
        return self._url(uri, expires_seconds)


class AsyncHandlerFiles(_Desk):
    """For async handlers: everything is awaited."""

    async def read_json(self, uri: str) -> Json:
        """The value in the object that *uri* names, at most 8 MiB."""
        return await asyncio.to_thread(self._read_json, uri)

    async def write_json(self, name: str, value: Any) -> str:
        """Keep *value* as a file of the job; answers its URI, which is another one each time the handler runs."""
        return await asyncio.to_thread(self._write_json, name, value)

    async def url(self, uri: str, *, expires_seconds: int = URL_SECONDS) -> str:
        """A link by which anybody can fetch the object, for so long."""
        return await asyncio.to_thread(self._url, uri, expires_seconds)
