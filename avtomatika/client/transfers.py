"""Files between this machine and where a signed URL leads to: streamed, checked, whole or not at all.

A signed URL opens what it names to whoever has it: no message shows more than the place. Our own token is not sent.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import file_digest, sha256
from pathlib import Path
from secrets import token_hex
from time import sleep
from typing import TypeVar
from urllib.parse import urlsplit

import requests

from avtomatika.errors import AvtomatikaError, InvalidRequestError, NotFoundError, UnavailableError

T = TypeVar("T")

#: How often a transfer is begun before it is given up, and the first pause between.
_ATTEMPTS = 4
_PAUSE_SECONDS = 0.5
#: Wait for a connection, and for the next bytes.
_TIMEOUT_SECONDS = (10.0, 60.0)
_PIECE_BYTES = 1024 * 1024


class _BrokenTransferError(UnavailableError):
    """Another try may succeed."""


def digest_of(path: Path) -> tuple[int, str]:
    """Size and SHA-256 of a file; InvalidRequestError where it cannot be read."""
    try:
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
            return os.fstat(file.fileno()).st_size, digest
    except OSError as error:
        raise InvalidRequestError(f"{str(path)!r} cannot be read: {error.strerror}") from None


def send(path: Path, url: str, headers: Mapping[str, str]) -> None:
    """PUT a file to a signed *url*. Raises UnavailableError where it cannot be reached."""

    def attempt() -> None:
        with path.open("rb") as file:
            is_empty = os.fstat(file.fileno()).st_size == 0
            body = b"" if is_empty else file  # an empty file would be sent in chunks, of which S3 wants to hear nothing
            response = requests.put(
                url, data=body, headers=dict(headers), timeout=_TIMEOUT_SECONDS, allow_redirects=False
            )
        _check(response, url)

    _tried(attempt, url)


def fetch(url: str, path: Path) -> None:
    """GET what a signed *url* names into *path*, which is there as a whole or not at all."""
    part = path.with_name(f".{path.name[:100]}.{token_hex(4)}.part")

    def attempt() -> None:
        headers = {"Accept-Encoding": "identity"}
        with requests.get(
            url, headers=headers, timeout=_TIMEOUT_SECONDS, allow_redirects=False, stream=True
        ) as response:
            _check(response, url)
            _save(response, part, _place(url))

    try:
        _tried(attempt, url)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _save(response: requests.Response, part: Path, place: str) -> None:
    size, digest = 0, sha256()
    try:
        with part.open("wb") as file:
            for piece in response.iter_content(_PIECE_BYTES):
                file.write(piece)
                digest.update(piece)
                size += len(piece)
    except OSError as error:
        if isinstance(error, requests.RequestException):
            raise
        raise InvalidRequestError(f"{str(part.parent)!r} cannot be written to: {error.strerror}") from None
    expected, said = response.headers.get("Content-Length"), response.headers.get("x-amz-meta-sha256")
    if expected is not None and size != int(expected):
        raise _BrokenTransferError(f"{place}: expected {expected} bytes, seen {size}")
    if said is not None and said != digest.hexdigest():
        raise _BrokenTransferError(f"{place}: expected SHA-256 {said}, seen {digest.hexdigest()}")


def _check(response: requests.Response, url: str) -> None:
    if response.ok and not response.is_redirect:
        return
    place = _place(url)
    if response.status_code == 404:
        raise NotFoundError("object", place)
    kind = _BrokenTransferError if response.status_code >= 500 or response.status_code == 429 else AvtomatikaError
    raise kind(f"{place} answered {response.status_code} {response.reason}")


def _tried(attempt: Callable[[], T], url: str) -> T:
    number = 0
    while True:
        number += 1
        try:
            with _reached(url):
                return attempt()
        except _BrokenTransferError:
            if number == _ATTEMPTS:
                raise
            sleep(_PAUSE_SECONDS * 2 ** (number - 1))


@contextmanager
def _reached(url: str) -> Iterator[None]:
    try:
        yield
    except requests.Timeout:
        raise _BrokenTransferError(f"{_place(url)} did not answer in time") from None
    except requests.RequestException as error:
        raise _BrokenTransferError(f"{_place(url)} cannot be reached: {type(error).__name__}") from None


def _place(url: str) -> str:
    """*url* without its signature."""
    return urlsplit(url)._replace(query="", fragment="").geturl()
