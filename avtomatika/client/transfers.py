"""Uploads and downloads by signed URL: streamed, verified, and complete or not there at all.

A signed URL grants access to its holder, so messages show it without the signature. The client token is not sent.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import inf
from pathlib import Path
from secrets import token_hex
from time import sleep
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import httpx

from avtomatika.core.file_reference import FileReference
from avtomatika.errors import AvtomatikaError, InvalidRequestError, NotFoundError, UnavailableError
from avtomatika.local_files import replacing

#: Attempts of a transfer, and the pause before the second, which doubles from then on.
_ATTEMPTS = 4
_PAUSE_SECONDS = 0.5
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_CHUNK_BYTES = 1024 * 1024


#: Is called with the transferred bytes and their total; each attempt starts at 0.
OnProgress = Callable[[int, int], object]


def ignore(done: int, total: int) -> None:
    """The default of an OnProgress."""


class _Retryable(UnavailableError):
    """Another attempt may succeed."""


def digest_of(path: Path) -> tuple[int, str]:
    """Return the size and the SHA-256 of a file. Raises InvalidRequestError if it cannot be read."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return os.fstat(file.fileno()).st_size, digest
    except OSError as error:
        raise InvalidRequestError(f"{str(path)!r} cannot be read: {error.strerror}") from None


def upload(path: Path, url: str, headers: Mapping[str, str], on_progress: OnProgress = ignore) -> None:
    """PUT a file to a signed *url*. Raises UnavailableError if the server cannot be reached."""

    def attempt() -> None:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            sent = {**headers, "Content-Length": str(size)}  # else it would be sent in chunks, which S3 rejects
            response = httpx.put(url, content=_read(file, size, on_progress), headers=sent, timeout=_TIMEOUT)
        _check(response, url)

    _retried(attempt, url)


def download(url: str, path: Path, on_progress: OnProgress = ignore) -> None:
    """GET a signed *url* into *path*, which appears once it is complete."""
    part = path.with_name(f".{path.name[:100]}.{token_hex(4)}.part")

    def attempt() -> None:
        try:
            with part.open("wb") as file:
                _receive(url, file.write, on_progress=on_progress)
        except OSError as error:
            raise InvalidRequestError(f"{str(part.parent)!r} cannot be written to: {error.strerror}") from None

    with replacing(path, part):
        _retried(attempt, url)


def read_value(url: str, reference: FileReference) -> Any:
    """GET the value of *reference* from a signed *url*. Raises UnavailableError if its checksum is wrong."""
    content = bytearray()

    def attempt() -> None:
        content.clear()
        _receive(url, content.extend, sha256=reference.sha256, limit=reference.size)

    _retried(attempt, url)
    return json.loads(content)


def _read(file: BinaryIO, size: int, on_progress: OnProgress) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk
        on_progress(file.tell(), size)


def _receive(
    url: str,
    write: Callable[[bytes], object],
    *,
    sha256: str | None = None,
    limit: float = inf,
    on_progress: OnProgress = ignore,
) -> None:
    """GET *url*, and compare it with the size and the SHA-256 that the server knows, or with *sha256*; read no more
    than the chunk with which it exceeds *limit* bytes."""
    size, digest = 0, hashlib.sha256()
    with httpx.stream("GET", url, headers={"Accept-Encoding": "identity"}, timeout=_TIMEOUT) as response:
        _check(response, url)
        for chunk in response.iter_bytes(_CHUNK_BYTES):
            write(chunk)
            digest.update(chunk)
            size += len(chunk)
            on_progress(size, int(response.headers.get("Content-Length", size)))
            if size > limit:
                break
    length, expected = response.headers.get("Content-Length"), sha256 or response.headers.get("x-amz-meta-sha256")
    if length is not None and size != int(length):
        raise _Retryable(f"{_without_signature(url)}: expected {length} bytes, received {size}")
    if expected is not None and expected != digest.hexdigest():
        raise _Retryable(f"{_without_signature(url)}: expected SHA-256 {expected}, received {digest.hexdigest()}")


def _check(response: httpx.Response, url: str) -> None:
    if response.is_success:
        return
    shown_url = _without_signature(url)
    if response.status_code == 404:
        raise NotFoundError("object", shown_url)
    kind = _Retryable if response.status_code >= 500 or response.status_code == 429 else AvtomatikaError
    raise kind(f"{shown_url} answered {response.status_code} {response.reason_phrase}")


def _retried(attempt: Callable[[], None], url: str) -> None:
    number = 0
    while True:
        number += 1
        try:
            with _translated_errors(url):
                return attempt()
        except _Retryable:
            if number == _ATTEMPTS:
                raise
            sleep(_PAUSE_SECONDS * 2 ** (number - 1))


@contextmanager
def _translated_errors(url: str) -> Iterator[None]:
    try:
        yield
    except httpx.TimeoutException:
        raise _Retryable(f"{_without_signature(url)} did not answer in time") from None
    except httpx.RequestError as error:
        raise _Retryable(f"{_without_signature(url)} cannot be reached: {type(error).__name__}") from None


def _without_signature(url: str) -> str:
    return urlsplit(url)._replace(query="", fragment="").geturl()
