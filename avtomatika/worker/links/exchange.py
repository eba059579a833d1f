"""Exchange: requests to one web address over a connection of its own, and what its answers mean.

Whatever goes wrong on the way, or comes back that is no answer, is Unavailable; a token that is not taken is
Unauthorized; NotFound where the server does not know us. Redirects are not followed.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

import orjson

from avtomatika.errors import InvalidRequest, NotFound, Unauthorized, Unavailable
from avtomatika.schemas.wire import MAX_BYTES
from avtomatika.worker.config import Address

#: How long connecting and an answer may take, what the server is asked to wait not counted.
_TIMEOUT_SECONDS = 5.0
#: How much of an answer that is none is told.
_SHOWN = 120


#: Method, path, content and headers.
Request = tuple[str, str, bytes | None, Mapping[str, str]]


class Exchange:
    """For one thread, but for :meth:`abort`. *headers* go with every request."""

    def __init__(self, address: Address, headers: Mapping[str, str]) -> None:
        self._address = address
        self._headers = {"Accept": "application/json", **headers}
        parts = urlsplit(address.url)
        self._path = parts.path.rstrip("/")
        self._connection = _connection(parts.scheme, parts.hostname or "", parts.port)
        self._is_aborted = False
        self._has_ended = False

    def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, wait_seconds: float = 0.0
    ) -> dict[str, Any] | None:
        """The JSON object that the server answers, or None for no content. A *body* is by the worker that it names."""
        content, headers = None, self._headers
        if body is not None:
            content = orjson.dumps(dict(body))
            headers = {**headers, "X-Worker-ID": str(body["worker_id"]), "Content-Type": "application/json"}
        self._is_aborted = False
        try:
            return self._read(*self._send((method, path, content, headers), _TIMEOUT_SECONDS + wait_seconds))
        except (Unavailable, InvalidRequest):
            self.close()
            raise

    def abort(self) -> None:
        """Have a request that waits fail at once. Any thread."""
        self._is_aborted = True
        connected = self._connection.sock
        if connected is not None:
            with contextlib.suppress(OSError):
                # Not the method of an encrypted socket: that takes the encryption off first, and whoever sends then
                # sends in the clear.
                socket.socket.shutdown(connected, socket.SHUT_RDWR)

    def end(self) -> None:
        """The same for every request that is still to come."""
        self._has_ended = True
        self.abort()

    def close(self) -> None:
        self._connection.close()

    def _send(self, request: Request, timeout_seconds: float) -> tuple[HTTPResponse, bytes]:
        """A connection that rested may have been closed by the other side: then once more, on a fresh one."""
        is_fresh = self._connection.sock is None
        method, path, content, headers = request
        try:
            self._connection.timeout = timeout_seconds
            if self._connection.sock is None:
                self._connection.connect()
            else:
                self._connection.sock.settimeout(timeout_seconds)
            if self._has_ended:  # looked for when there is a socket: whoever ends it later shuts that
                raise ConnectionAbortedError("nothing is asked any more")
            self._connection.request(method, f"{self._path}{path}", content, headers)
            response = self._connection.getresponse()
            return response, response.read(MAX_BYTES + 1)
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise Unavailable(f"{self._address} is not trusted: {error.verify_message}") from None
        except (OSError, HTTPException, ValueError) as error:
            self.close()
            is_over = self._is_aborted or self._has_ended
            if not is_fresh and isinstance(error, ConnectionError) and not is_over:
                return self._send(request, timeout_seconds)
            reason = str(error) if isinstance(error, OSError) else type(error).__name__  # a ValueError shows the token
            raise Unavailable(f"{self._address} does not answer: {reason}") from None

    def _read(self, response: HTTPResponse, content: bytes) -> dict[str, Any] | None:
        status = response.status
        if status == 204:
            return None
        answer = _object(content)
        if status == 200 and answer is not None:
            return answer
        said = str((answer or {}).get("error") or content[:_SHOWN].decode(errors="replace"))
        match status:
            case 401 | 403:
                raise Unauthorized(f"{self._address} does not let this worker in: {said}")
            case 404 if answer is not None:
                raise NotFound("worker", str(self._address))
            case 400 | 413 | 415 | 422 if answer is not None:
                raise InvalidRequest(f"{self._address} does not take what it was sent: {said}")
        after = response.headers.get("Retry-After", "")
        raise Unavailable(
            f"{self._address} answers {status} with {said!r}",
            retry_after_seconds=min(int(after), 60) if after.isdecimal() else 0,
        )


def _connection(scheme: str, host: str, port: int | None) -> HTTPConnection:
    if scheme == "https":
        return HTTPSConnection(host, port, context=ssl.create_default_context())
    return HTTPConnection(host, port)


def _object(content: bytes) -> dict[str, Any] | None:
    if len(content) > MAX_BYTES:
        return None
    try:
        value = orjson.loads(content)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
