"""Exchange: requests to one web address over a connection of its own, and what its answers mean.

Whatever goes wrong on the way, or comes back that is no answer, is UnavailableError; a token that is not taken is
UnauthorizedError; NotFoundError where the server does not know us. Redirects are not followed.
"""

from __future__ import annotations

import contextlib
import io
import socket
import ssl
from collections.abc import Mapping
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import orjson

from avtomatika.errors import InvalidRequestError, NoRouteError, NotFoundError, UnauthorizedError, UnavailableError
from avtomatika.schemas.wire import MAX_BYTES
from avtomatika.worker.config import Address

#: How long connecting and an answer may take, what the server is asked to wait not counted.
_TIMEOUT_SECONDS = 5.0
#: How much of an answer that is none is told.
_SHOWN = 120
#: Longest error of an orchestrator that is told.
_MAX_ERROR = 4_000
#: Longest pause that a server may ask for.
_MAX_RETRY_AFTER_SECONDS = 60

#: Method, path, content and headers.
Request = tuple[str, str, bytes | None, Mapping[str, str]]


class HttpClient:
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
        """The JSON object that the server answers, or None for no content, which only a request without a *body* may
        have. A *body* is by the worker that it names. The time limit is that of the whole request."""
        content, headers = None, self._headers
        if body is not None:
            content = orjson.dumps(dict(body))
            headers = {**headers, "X-Worker-ID": str(body["worker_id"]), "Content-Type": "application/json"}
        self._is_aborted = False
        try:
            deadline = monotonic() + _TIMEOUT_SECONDS + wait_seconds
            answer = self._read(*self._send((method, path, content, headers), deadline))
            if answer is None and body is not None:
                raise UnavailableError(
                    f"{self._address} answers 204 to {method} {path}, where it must answer an object"
                )
            return answer
        except (UnavailableError, InvalidRequestError):
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

    def _send(self, request: Request, deadline: float) -> tuple[HTTPResponse, bytes]:
        """A connection that rested may have been closed by the other side: then once more, on a fresh one."""
        is_fresh = self._connection.sock is None
        method, path, content, headers = request
        try:
            self._connection.timeout = _left(deadline)
            if self._connection.sock is None:
                self._connection.connect()
            self._connection.sock.settimeout(_left(deadline))
            if self._has_ended:  # looked for when there is a socket: whoever ends it later shuts that
                raise ConnectionAbortedError("nothing is asked any more")
            self._connection.response_class = partial(_TimedResponse, deadline)  # type: ignore[assignment]
            self._connection.request(method, f"{self._path}{path}", content, headers)
            response = self._connection.getresponse()
            return response, response.read(MAX_BYTES + 1)
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise UnavailableError(f"{self._address} is not trusted: {error.verify_message}") from None
        except (OSError, HTTPException, ValueError) as error:
            self.close()
            is_over = self._is_aborted or self._has_ended
            if not is_fresh and isinstance(error, ConnectionError) and not is_over:
                return self._send(request, deadline)
            reason = str(error) if isinstance(error, OSError) else type(error).__name__  # a ValueError shows the token
            raise UnavailableError(f"{self._address} does not answer: {reason}") from None

    def _read(self, response: HTTPResponse, content: bytes) -> dict[str, Any] | None:
        status = response.status
        if status == 204:
            return None
        answer = _object(content)
        if status == 200 and answer is not None:
            return answer
        said = str((answer or {}).get("error") or content[:_SHOWN].decode(errors="replace"))[:_MAX_ERROR]
        is_orchestrator = answer is not None and isinstance(answer.get("code"), str)
        match status:
            case 401 | 403:
                raise UnauthorizedError(f"{self._address} does not let this worker in: {said}")
            case 404 if is_orchestrator:
                raise NotFoundError("worker", str(self._address))
            case 503 if is_orchestrator and answer is not None and answer["code"] == NoRouteError.code:
                raise NoRouteError(str(self._address), "", said)
            case 400 | 413 | 415 | 422 if is_orchestrator:
                raise InvalidRequestError(f"{self._address} does not take what it was sent: {said}")
        raise UnavailableError(
            f"{self._address} answers {status} with {said!r}",
            retry_after_seconds=_seconds(response.headers.get("Retry-After", "")),
        )


class _TimedResponse(HTTPResponse):
    """Raises TimeoutError when its *deadline* is over, however often a byte arrives."""

    def __init__(self, deadline: float, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.fp = io.BufferedReader(_TimedReader(sock, deadline))


class _TimedReader(io.RawIOBase):
    """Reads from *sock* until *deadline*."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left(self._deadline))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _left(deadline: float) -> float:
    """Seconds until *deadline*; raises TimeoutError when it is over."""
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def _seconds(text: str) -> int:
    """The number of seconds that a ``Retry-After`` asks for, within bounds; 0 where it is not a number."""
    return min(int(text[:9]), _MAX_RETRY_AFTER_SECONDS) if text.isascii() and text.isdecimal() else 0


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
