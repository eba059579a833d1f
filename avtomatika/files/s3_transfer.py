"""Downloads and uploads of a worker: constant memory for objects of any size.

Downloads are verified: the size, one ETag for all parts, and the SHA-256 that uploads of this project carry.
"""

import os
import threading
from asyncio import CancelledError
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from hashlib import file_digest, sha256
from io import BufferedReader
from itertools import islice
from pathlib import Path
from secrets import token_hex
from typing import Any

from botocore.exceptions import BotoCoreError
from s3transfer.exceptions import CancelledError as TransferCancelled
from s3transfer.manager import TransferConfig, TransferManager
from urllib3.exceptions import HTTPError

from avtomatika.errors import InvalidInputError, TaskError, TransientError, WorkerFaultError
from avtomatika.local_files import replacing

from .boto_client import ATTEMPTS, check_read, check_write, is_usable
from .config import S3Config
from .location import Location
from .s3_client import READ, WRITE, Metadata, ObjectInfo, S3Client, read_metadata
from .s3_errors import (
    AccessDeniedError,
    BucketNotFoundError,
    CredentialsError,
    NotS3Error,
    ObjectChangedError,
    is_full,
    translated_errors,
)
from .transfer_progress import POLL_SECONDS, ProgressMeter

#: Larger objects are transferred in parts of this size, several at a time.
PART_BYTES = 8 * 1024 * 1024
#: Concurrent requests for parts of large objects, over all transfers.
_PARTS_AT_A_TIME = 6
#: Buffer of a download: the size of a chunk and the number of chunks.
_PIECE_BYTES = 512 * 1024
_PIECES = 4
#: Connections for small objects, in addition to those for parts.
SMALL_AT_A_TIME = 10
#: Limit of the objects in a folder that a task downloads.
MAX_OBJECTS = 10_000


class S3Transfer(S3Client):
    """The S3 client of workers; thread-safe. Each WorkerFaultError has a probe that shows when it is over."""

    def __init__(self, config: S3Config) -> None:
        super().__init__(config, connections=_PARTS_AT_A_TIME + SMALL_AT_A_TIME)
        self._is_closed = False
        self.boto.meta.events.register("before-send.s3", self._refuse_when_closed)
        self._transfers = TransferManager(
            self.boto,
            TransferConfig(
                multipart_threshold=PART_BYTES + 1,
                multipart_chunksize=PART_BYTES,
                max_request_concurrency=_PARTS_AT_A_TIME,
                max_submission_concurrency=2,
                max_io_queue_size=_PIECES,
                io_chunksize=_PIECE_BYTES,
                num_download_attempts=ATTEMPTS,
            ),
        )

    def close(self) -> None:
        """Abort all transfers; nothing is retried from now on."""
        self._is_closed = True
        # s3transfer takes the message for the class of the error that ends transfers, so it is given one.
        self._transfers.shutdown(cancel=True, cancel_msg=TransferCancelled)
        super().close()

    def list_all(self, prefix: Location) -> list[ObjectInfo]:
        """Return the objects whose keys start with that of *prefix*; InvalidInputError if none or too many."""
        found = list(islice(self.list(prefix), MAX_OBJECTS + 1))
        if len(found) > MAX_OBJECTS:
            raise InvalidInputError(f"{prefix}: there are more than {MAX_OBJECTS} objects below it")
        if not found:
            raise InvalidInputError(f"{prefix}: no key starts with this")
        return found

    # ------------------------------------------------------------ down

    def download(self, found: ObjectInfo, path: Path, *, unfinished: Path, meter: ProgressMeter) -> None:
        """Download an object to *path*, completely or not at all; *unfinished* is a folder on the same file system.

        Raise CancelledError soon after the task is cancelled; a connection without data may be closed later.
        """
        try:
            with self._translated_errors(found.location), replacing(path, unfinished / token_hex(8)) as part:
                if found.size > PART_BYTES:
                    self._download_parts(found, part, meter)
                else:
                    self._download_whole(found, part, meter)
            meter.cancellation.transferred.append(("download", found.size))
        except ObjectChangedError:
            seen = self.stat(found.location).etag
            raise TransientError(f"{found.location}: was changed: expected ETag {found.etag}, seen {seen}") from None

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
        answer = self.boto.get_object(Bucket=location.bucket, Key=location.key, IfMatch=found.etag)
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
        if found.sha256 is None:  # listings lack it
            found = replace(found, sha256=self.stat(found.location).sha256)
        transfer = _Transfer(meter, found)
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
        """Upload an open file, which must not change during the upload; the object's metadata name *client*.

        Raise CancelledError after the task is cancelled, once no request of the upload is running.
        """
        with self._translated_errors(location, WRITE):
            before = os.fstat(file.fileno())
            digest = file_digest(file, "sha256").hexdigest()
            extra = {"Metadata": Metadata(digest, client).as_headers()}
            # s3transfer opens a file by name for each part. This name is always that of the file that was checked.
            name, transfer = f"/proc/self/fd/{file.fileno()}", _Transfer(meter)
            sent = self._transfers.upload(name, location.bucket, location.key, extra_args=extra, subscribers=[transfer])
            transfer.wait(sent, to_the_end=True)
            after = os.fstat(file.fileno())
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                raise TransientError(
                    f"{location}: the file was changed while it was sent: "
                    f"expected {before.st_size} bytes, seen {after.st_size}"
                )
            if before.st_size > PART_BYTES:  # verify that the server assembled the parts
                found = self.stat(location)
                _check(replace(found, size=before.st_size, sha256=digest), found.size, found.sha256)
            meter.cancellation.transferred.append(("upload", before.st_size))

    def create_folder_marker(self, folder: Location, *, client: str | None = None) -> None:
        """Create an empty object with the name of an empty *folder*, so that listings show it."""
        self.write(folder, b"", Metadata(client=client), content_type="binary/octet-stream")

    # ------------------------------------------------------------ faults of the worker

    def probe(self, location: Location, check: str) -> None:
        """Repeat the request that caused a WorkerFaultError. Raise TaskError while it still fails."""
        with self._translated_errors(location, check):
            if check == WRITE:
                check_write(self.boto, location.bucket)
            elif location.is_folder:
                check_read(self.boto, location.bucket, prefix=location.key)
            else:
                self.boto.head_object(Bucket=location.bucket, Key=location.key)

    @contextmanager
    def _translated_errors(self, location: Location, request: str = READ) -> Iterator[None]:
        probe = {"check": request, "uri": str(location)}
        try:
            with translated_errors(location):
                yield
        except (CredentialsError, NotS3Error) as fault:
            raise type(fault)(str(fault), probe=fault.probe or probe) from fault
        except BucketNotFoundError as problem:
            if request == WRITE:  # the bucket of results is the worker's setting
                raise WorkerFaultError(str(problem), probe=probe) from problem
            raise
        except AccessDeniedError as fault:
            if fault.probe is None and not self._is_of_object(location, request):
                raise AccessDeniedError(str(fault), probe=probe) from fault
            raise

    def _is_of_object(self, location: Location, request: str) -> bool:
        """Return whether only *location* is denied and the keys are valid elsewhere.

        Raise CredentialsError if the server rejects the keys; the answer to HEAD cannot say so.
        """
        try:
            with translated_errors(location):
                check_read(self.boto, location.bucket)
        except CredentialsError as fault:
            raise CredentialsError(str(fault), probe={"check": request, "uri": str(location)}) from fault
        except TaskError:
            pass
        bucket = self.config.bucket
        return request == READ and (bucket is None or is_usable(self.boto, bucket))

    def _refuse_when_closed(self, **_: Any) -> None:
        if self._is_closed:
            raise TransientError("the worker is shutting down")


class _Transfer:
    """A subscriber of s3transfer for one transfer: an upload, or the download of the object *found*."""

    def __init__(self, meter: ProgressMeter, found: ObjectInfo | None = None) -> None:
        self._meter = meter
        self._found = found
        self._is_done = threading.Event()
        self.bytes_transferred = 0

    def on_queued(self, future: Any, **_: Any) -> None:
        if self._found is not None:  # so that s3transfer detects changes of the object
            future.meta.provide_transfer_size(self._found.size)
            future.meta.provide_object_etag(self._found.etag)

    def on_progress(self, future: Any, bytes_transferred: int, **_: Any) -> None:
        self.bytes_transferred += bytes_transferred
        self._meter.add(bytes_transferred)

    def on_done(self, **_: Any) -> None:
        self._is_done.set()

    def wait(self, future: Any, *, to_the_end: bool = False) -> None:
        """Wait for *future*. If the task is cancelled, cancel the transfer and raise CancelledError: at once, or
        *to_the_end* once no request of it is running."""
        while not self._is_done.wait(POLL_SECONDS):
            if self._meter.cancellation.is_cancelled():
                future.cancel()
                if to_the_end:
                    self._is_done.wait()
                raise CancelledError
        future.result()


def _check(expected: ObjectInfo, size: int, digest: str | None) -> None:
    if size != expected.size:
        raise TransientError(f"{expected.location}: expected {expected.size} bytes, seen {size}")
    if expected.sha256 is not None and digest != expected.sha256:
        raise TransientError(f"{expected.location}: expected SHA-256 {expected.sha256}, seen {digest}")
