"""HTTP client for one web address, over one connection, with the meaning of its replies.

Network errors and invalid replies raise UnavailableError, a rejected token UnauthorizedError, and an unknown worker
NotFoundError. Redirects are not followed.
"""

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

from avtomatika.addresses import Address
from avtomatika.errors import InvalidRequestError, NoRouteError, NotFoundError, UnauthorizedError, UnavailableError
from avtomatika.schemas.wire import MAX_BYTES

#: Time limit for connecting and the reply, in addition to the time that the server is asked to wait.
_TIMEOUT_SECONDS = 5.0
#: Maximum length of an invalid reply in an error message.
_SHOWN = 120
#: Maximum length of an orchestrator's error message.
_MAX_ERROR = 4_000
#: Upper limit for Retry-After.
_MAX_RETRY_AFTER_SECONDS = 60


class RequestTooLargeError(InvalidRequestError):
    """The server accepts smaller requests only."""


class HttpClient:
    """Not thread-safe, except :meth:`abort`. *headers* are sent with every request."""

    def __init__(self, address: Address, headers: Mapping[str, str]) -> None:
        self._address = address
        self._headers = {"Accept": "application/json", **headers}
        parts = urlsplit(address.url)
        self._path = parts.path.rstrip("/")
        host = parts.hostname or ""
        self._connection = (
            HTTPSConnection(host, parts.port, context=ssl.create_default_context())
            if parts.scheme == "https"
            else HTTPConnection(host, parts.port)
        )
        self._is_aborted = False
        self._is_shut_down = False

    def request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, wait_seconds: float = 0.0
    ) -> dict[str, Any] | None:
        """Return the JSON object of the reply, or None for 204, which is valid only without a *body*. The *body* names
        the worker. The time limit covers the whole request."""
        content, headers = None, self._headers
        if body is not None:
            content = orjson.dumps(dict(body))
            headers = {**headers, "X-Worker-ID": str(body["worker_id"]), "Content-Type": "application/json"}
        self._is_aborted = False
        try:
            deadline = monotonic() + _TIMEOUT_SECONDS + wait_seconds
            answer = self._interpret(*self._send(method, path, content, headers, deadline))
            if answer is None and body is not None:
                raise UnavailableError(f"{self._address} replied 204 to {method} {path}, but must reply with an object")
            return answer
        except (UnavailableError, InvalidRequestError):
            self.close()
            raise

    def abort(self) -> None:
        """Abort a running request. Any thread may call it."""
        self._is_aborted = True
        connected = self._connection.sock
        if connected is not None:
            with contextlib.suppress(OSError):
                # SSLSocket.shutdown would remove the encryption first, and another thread could then send unencrypted.
                socket.socket.shutdown(connected, socket.SHUT_RDWR)

    def shut_down(self) -> None:
        """Abort the running request and all later ones."""
        self._is_shut_down = True
        self.abort()

    def close(self) -> None:
        self._connection.close()

    def _send(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str], deadline: float
    ) -> tuple[HTTPResponse, bytes]:
        """Send a request; repeat it once on a new connection if the server had closed an idle one."""
        is_fresh = self._connection.sock is None
        try:
            self._connection.timeout = _seconds_left(deadline)
            if self._connection.sock is None:
                self._connection.connect()
            self._connection.sock.settimeout(_seconds_left(deadline))
            if self._is_shut_down:  # checked once there is a socket: a later shutdown closes that
                raise ConnectionAbortedError("the client is shut down")
            self._connection.response_class = partial(_TimedResponse, deadline)  # type: ignore[assignment]
            self._connection.request(method, f"{self._path}{path}", content, headers)
            response = self._connection.getresponse()
            return response, response.read(MAX_BYTES + 1)
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise UnavailableError(f"{self._address} is not trusted: {error.verify_message}") from None
        except (OSError, HTTPException, ValueError) as error:
            self.close()
            is_over = self._is_aborted or self._is_shut_down
            if not is_fresh and isinstance(error, ConnectionError) and not is_over:
                return self._send(method, path, content, headers, deadline)
            # A ValueError would show the token.
            reason = str(error) if isinstance(error, OSError) else type(error).__name__
            raise UnavailableError(f"{self._address} does not respond: {reason}") from None

    def _interpret(self, response: HTTPResponse, content: bytes) -> dict[str, Any] | None:
        status = response.status
        if status == 204:
            return None
        answer = _object(content)
        if status == 200 and answer is not None:
            return answer
        message = str((answer or {}).get("error") or content[:_SHOWN].decode(errors="replace"))[:_MAX_ERROR]
        is_orchestrator = answer is not None and isinstance(answer.get("code"), str)
        match status:
            case 401 | 403:
                raise UnauthorizedError(f"{self._address} rejected this worker: {message}")
            case 404 if is_orchestrator:
                raise NotFoundError("worker", str(self._address))
            case 503 if is_orchestrator and answer is not None and answer["code"] == NoRouteError.code:
                raise NoRouteError(str(self._address), "", message)
            case 413 if is_orchestrator:
                raise RequestTooLargeError(f"{self._address} rejected the request: {message}")
            case 400 | 415 | 422 if is_orchestrator:
                raise InvalidRequestError(f"{self._address} rejected the request: {message}")
        raise UnavailableError(
            f"{self._address} replied {status}: {message!r}",
            retry_after_seconds=_seconds(response.headers.get("Retry-After", "")),
        )


class _TimedResponse(HTTPResponse):
    """Raises TimeoutError at its *deadline*, even if bytes keep arriving."""

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
        self._sock.settimeout(_seconds_left(self._deadline))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _seconds_left(deadline: float) -> float:
    """Return the seconds until *deadline*. Raises TimeoutError if it has passed."""
    seconds = deadline - monotonic()
    if seconds <= 0:
        raise TimeoutError("timed out")
    return seconds


def _seconds(text: str) -> int:
    """Parse ``Retry-After`` as seconds, within limits; 0 if it is not a number."""
    return min(int(text[:9]), _MAX_RETRY_AFTER_SECONDS) if text.isascii() and text.isdecimal() else 0


def _object(content: bytes) -> dict[str, Any] | None:
    if len(content) > MAX_BYTES:
        return None
    try:
        value = orjson.loads(content)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
