"""S3 as this project uses it: look, list, download, upload. Constant memory, whatever the size.

What comes is checked: size, ETag from the first byte to the last, and the SHA-256 that an upload of ours carries.
"""

from __future__ import annotations

import os
import threading
from asyncio import CancelledError
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from hashlib import file_digest, sha256
from io import BufferedReader
from pathlib import Path
from secrets import token_hex
from typing import Any

from botocore.exceptions import BotoCoreError
from s3transfer.exceptions import CancelledError as TransferCancelled
from s3transfer.manager import TransferConfig, TransferManager
from urllib3.exceptions import HTTPError

from avtomatika.errors import InvalidInputError, TaskError, TransientError, WorkerFaultError

from .boto_client import ATTEMPTS, connect
from .config import S3Config
from .descriptors import Descriptors, name_of
from .location import Location
from .metadata import Metadata, read_metadata
from .probing import check_read, check_write, is_usable
from .s3_errors import (
    READ,
    WRITE,
    AccessDeniedError,
    BucketNotFoundError,
    CredentialsError,
    NotS3Error,
    ObjectChangedError,
    is_full,
    translated_errors,
)
from .transfer_progress import LOOK_EVERY_SECONDS, ProgressMeter

#: From here on an object goes in parts of this size, several at a time.
PART_BYTES = 8 * 1024 * 1024
#: Requests at a time for parts of large objects, all transfers together.
_PARTS_AT_A_TIME = 6
#: How much of a download is in memory, in pieces.
_PIECE_BYTES = 512 * 1024
_PIECES = 4
#: Connections beside those for parts: small objects of folders.
SMALL_AT_A_TIME = 10
#: More objects than this are no folder for one task.
MAX_OBJECTS = 10_000


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object that is there; *sha256*, and whose *client*'s it is, are None where nobody has said."""

    location: Location
    size: int
    etag: str
    sha256: str | None = None
    client: str | None = None


class S3Transfer:
    """One client for all threads. What it raises are TaskErrors that begin with the URI."""

    def __init__(self, config: S3Config) -> None:
        self.config = config
        self._is_closed = False
        self._client = connect(config, connections=_PARTS_AT_A_TIME + SMALL_AT_A_TIME)
        self._client.meta.events.register("before-send.s3", self._refuse_when_closed)
        self._transfers = TransferManager(
            self._client,
            TransferConfig(
                multipart_threshold=PART_BYTES + 1,
                multipart_chunksize=PART_BYTES,
                max_request_concurrency=_PARTS_AT_A_TIME,
                max_submission_concurrency=2,
                max_io_queue_size=_PIECES,
                io_chunksize=_PIECE_BYTES,
                num_download_attempts=ATTEMPTS,
            ),
            osutil=Descriptors(),
        )

    def close(self) -> None:
        """Give up what is on its way: nothing is tried again from now on."""
        self._is_closed = True
        # s3transfer takes the message for the class of the error that ends transfers, so it is given one.
        self._transfers.shutdown(cancel=True, cancel_msg=TransferCancelled)
        self._client.close()

    def stat(self, location: Location) -> ObjectInfo:
        """The object at *location*."""
        with self._told_of(location, READ):
            answer = self._client.head_object(Bucket=location.bucket, Key=location.key)
            told = read_metadata(answer)
            return ObjectInfo(location, answer["ContentLength"], answer["ETag"], told.sha256, told.client)

    def list(self, folder: Location) -> list[ObjectInfo]:
        """The objects below *folder*, by key; InvalidInputError where there are none, or too many for a task."""
        with self._told_of(folder, READ):
            found = list(self._below(folder))
        if not found:
            raise InvalidInputError(f"{folder}: no key begins like this")
        return found

    def _below(self, folder: Location) -> Iterator[ObjectInfo]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=folder.bucket, Prefix=folder.key)
        number = 0
        for page in pages:
            for each in page.get("Contents", ()):
                number += 1
                if number > MAX_OBJECTS:
                    raise InvalidInputError(f"{folder}: there are more than {MAX_OBJECTS} objects below it")
                yield ObjectInfo(Location(folder.bucket, each["Key"]), each["Size"], each["ETag"])

    # ------------------------------------------------------------ down

    def download(self, found: ObjectInfo, path: Path, *, unfinished: Path, meter: ProgressMeter) -> None:
        """Bring an object to *path*, all of it or nothing; *unfinished* is a folder of the same file system.

        Raises CancelledError soon after nobody wants it any more; a connection that is silent may end later.
        """
        part = unfinished / token_hex(8)
        try:
            with self._told_of(found.location, READ):
                if found.size > PART_BYTES:
                    self._download_parts(found, part, meter)
                else:
                    self._download_whole(found, part, meter)
                os.replace(part, path)
        except ObjectChangedError:
            seen = self.stat(found.location).etag
            raise TransientError(f"{found.location}: was changed: expected ETag {found.etag}, seen {seen}") from None
        finally:
            part.unlink(missing_ok=True)

    def _download_whole(self, found: ObjectInfo, path: Path, meter: ProgressMeter) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            meter.cancellation.check()
            try:
                self._read_whole(found, path, meter)
                return
            except (BotoCoreError, HTTPError, OSError, TransientError) as problem:
                if attempt == ATTEMPTS or is_full(problem):
                    raise

    def _read_whole(self, found: ObjectInfo, path: Path, meter: ProgressMeter) -> None:
        location = found.location
        answer = self._client.get_object(Bucket=location.bucket, Key=location.key, IfMatch=found.etag)
        size, digest = 0, sha256()
        with closing(answer["Body"]) as body, path.open("wb") as file:
            for piece in body.iter_chunks(_PIECE_BYTES):
                meter.cancellation.check()
                file.write(piece)
                digest.update(piece)
                size += len(piece)
                if size > found.size:
                    break
        meter.add(size)
        _check(replace(found, sha256=read_metadata(answer).sha256), size, digest.hexdigest())

    def _download_parts(self, found: ObjectInfo, path: Path, meter: ProgressMeter) -> None:
        if found.sha256 is None:  # a listing does not tell it
            found = replace(found, sha256=self.stat(found.location).sha256)
        transfer = _KnownTransfer(found, meter)
        with path.open("wb") as file:
            location = found.location
            transfer.wait(self._transfers.download(location.bucket, location.key, file, subscribers=[transfer]))
        meter.cancellation.check()
        seen = None
        if found.sha256 is not None:
            with path.open("rb") as file:
                seen = file_digest(file, "sha256").hexdigest()
        _check(found, transfer.bytes_transferred, seen)

    # ------------------------------------------------------------ up

    def upload(self, file: BufferedReader, location: Location, *, client: str | None, meter: ProgressMeter) -> None:
        """Send an open file, which must not change meanwhile; the object says whose it is.

        Raises CancelledError after nobody wants it any more, when nothing of it is on its way.
        """
        with self._told_of(location, WRITE):
            before = os.fstat(file.fileno())
            digest = file_digest(file, "sha256").hexdigest()
            extra = {"Metadata": Metadata(digest, client).as_headers()}
            name, transfer = name_of(file.fileno()), _Transfer(meter)
            sent = self._transfers.upload(name, location.bucket, location.key, extra_args=extra, subscribers=[transfer])
            transfer.wait(sent, to_the_end=True)
            after = os.fstat(file.fileno())
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                raise TransientError(
                    f"{location}: the file was changed while it was sent: "
                    f"expected {before.st_size} bytes, seen {after.st_size}"
                )
            if before.st_size > PART_BYTES:  # was it put together as it was sent?
                found = self.stat(location)
                _check(replace(found, size=before.st_size, sha256=digest), found.size, found.sha256)

    def create_folder_marker(self, folder: Location, *, client: str | None = None) -> None:
        """Say that an empty *folder* is there: with an object of no bytes that is called like it."""
        metadata = Metadata(client=client).as_headers()
        with self._told_of(folder, WRITE):
            self._client.put_object(Bucket=folder.bucket, Key=folder.key, Body=b"", Metadata=metadata)

    def remove(self, location: Location) -> None:
        with translated_errors(location):
            self._client.delete_object(Bucket=location.bucket, Key=location.key)

    # ------------------------------------------------------------ whose fault it is

    def probe(self, location: Location, check: str) -> None:
        """Try again what a WorkerFaultError was about. Raises TaskError while this process is unfit for it."""
        with self._told_of(location, check):
            if check == WRITE:
                check_write(self._client, location.bucket)
            elif location.is_folder:
                check_read(self._client, location.bucket, prefix=location.key)
            else:
                self._client.head_object(Bucket=location.bucket, Key=location.key)

    @contextmanager
    def _told_of(self, location: Location, check: str) -> Iterator[None]:
        """As :func:`told_of`; a WorkerFaultError says how to see that it is over."""
        probe = {"check": check, "uri": str(location)}
        try:
            with translated_errors(location):
                yield
        except (CredentialsError, NotS3Error) as fault:
            raise type(fault)(str(fault), probe=fault.probe or probe) from fault
        except BucketNotFoundError as problem:
            if check == WRITE:  # the bucket of results is the worker's setting
                raise WorkerFaultError(str(problem), probe=probe) from problem
            raise
        except AccessDeniedError as fault:
            if fault.probe is None and not self._is_of_object(location, check):
                raise AccessDeniedError(str(fault), probe=probe) from fault
            raise

    def _is_of_object(self, location: Location, check: str) -> bool:
        """Whether the keys are good and only *location* is denied. Raises CredentialsError if the server says that
        they are not; an answer to HEAD has no room for that."""
        try:
            with translated_errors(location):
                check_read(self._client, location.bucket)
        except CredentialsError as fault:
            raise CredentialsError(str(fault), probe={"check": check, "uri": str(location)}) from fault
        except TaskError:
            pass
        bucket = self.config.bucket
        return check == READ and (bucket is None or is_usable(self._client, bucket))

    def _refuse_when_closed(self, **_: Any) -> None:
        if self._is_closed:
            raise TransientError("the worker is stopping")


class _Transfer:
    """What s3transfer tells of one transfer, and we tell it."""

    def __init__(self, meter: ProgressMeter) -> None:
        self._meter = meter
        self._is_done = threading.Event()
        self.bytes_transferred = 0

    def on_progress(self, future: Any, bytes_transferred: int, **_: Any) -> None:
        self.bytes_transferred += bytes_transferred
        self._meter.add(bytes_transferred)

    def on_done(self, **_: Any) -> None:
        self._is_done.set()

    def wait(self, future: Any, *, to_the_end: bool = False) -> None:
        """Until *future* is done. Where nobody wants it any more it is given up, and CancelledError raised: at once,
        or *to_the_end* when nothing is on its way any more."""
        while not self._is_done.wait(LOOK_EVERY_SECONDS):
            if self._meter.cancellation.is_cancelled():
                future.cancel()
                if to_the_end:
                    self._is_done.wait()
                raise CancelledError
        future.result()


class _KnownTransfer(_Transfer):
    """Of an object of which s3transfer is told what is known, so that it sees a change."""

    def __init__(self, found: ObjectInfo, meter: ProgressMeter) -> None:
        super().__init__(meter)
        self._found = found

    def on_queued(self, future: Any, **_: Any) -> None:
        future.meta.provide_transfer_size(self._found.size)
        future.meta.provide_object_etag(self._found.etag)


def _check(expected: ObjectInfo, size: int, digest: str | None) -> None:
    if size != expected.size:
        raise TransientError(f"{expected.location}: expected {expected.size} bytes, seen {size}")
    if expected.sha256 is not None and digest != expected.sha256:
        raise TransientError(f"{expected.location}: expected SHA-256 {expected.sha256}, seen {digest}")
