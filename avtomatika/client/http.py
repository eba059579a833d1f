"""One server of a client: address, time limits, and responses that become errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx

from avtomatika import tracing
from avtomatika.errors import InvalidRequestError, RateLimitError, UnavailableError

from .errors import error_of
from .steps import Request, Sleep, Steps

#: A request that is held occupies a connection, so the server's limit applies, not one of the client.
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20)
#: A rate limit that requires a longer pause is an error.
_LONGEST_PAUSE_SECONDS = 60


class UnreachedError(UnavailableError):
    """No connection could be opened, so the server has not received the request."""


class Endpoint:
    """A server of a client. The token is sent in a header and appears in no message."""

    def __init__(self, base_url: str, token: str, *, weight: int = 1, timeout: float | timedelta = 10.0) -> None:
        if urlsplit(base_url).scheme not in ("http", "https"):
            raise InvalidRequestError(
                f"{base_url!r} is not the URL of a server: it must start with http:// or https://"
            )
        if not token or not token.isascii() or not token.isprintable():
            raise InvalidRequestError("a token is printable ASCII text, without spaces or line breaks at its ends")
        self.base_url = self.name = base_url.rstrip("/")
        self.token = token
        self.weight = weight
        self.timeout = seconds(timeout)

    def exchange(self, request: Request) -> Steps[httpx.Response]:
        """Send *request* and return the response, after a pause if the rate limit requires one. Raises the error that
        it reports, or UnavailableError."""
        while True:
            with self._errors(request):
                response = yield self.arguments(request)
            try:
                return checked(response, request)
            except RateLimitError as error:  # the request was not executed
                if error.retry_after_seconds > _LONGEST_PAUSE_SECONDS:
                    raise
                yield Sleep(error.retry_after_seconds)

    def close(self) -> None:
        """Close the connections of this server alone."""

    def arguments(self, request: Request) -> dict[str, Any]:
        """The arguments of httpx for *request*."""
        headers = {"X-Client-Token": self.token, "traceparent": tracing.current(), **request.headers}
        return {
            "method": request.method,
            "url": self.base_url + request.path,
            "params": {name: value for name, value in request.params.items() if value is not None},
            "json": request.json,
            "headers": {name: value for name, value in headers.items() if value is not None},
            "timeout": httpx.Timeout(self.timeout, read=self.timeout + request.held_seconds, pool=None),
            # A redirect would send the token to another server.
            "follow_redirects": False,
        }

    @contextmanager
    def _errors(self, request: Request) -> Iterator[None]:
        """Turn failures of the connection into UnavailableError."""
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise UnreachedError(f"{self.base_url} cannot be reached: {_reason(error)}") from None
        except httpx.TimeoutException:
            limit = self.timeout + request.held_seconds
            raise UnavailableError(f"{self.base_url} did not answer within {limit:g} s") from None
        except httpx.RequestError as error:
            raise UnavailableError(f"{self.base_url} cannot be reached: {_reason(error)}") from None
        except httpx.InvalidURL as error:
            raise InvalidRequestError(f"{self.base_url!r} is not the URL of a server: {error}") from None


def checked(response: httpx.Response, request: Request) -> httpx.Response:
    """Return *response* if it is the expected success; raise the error that it reports otherwise."""
    if response.is_success if not request.is_redirected else response.has_redirect_location:
        return response
    raise error_of(response, request.path)


def seconds(value: float | timedelta) -> float:
    """A duration, which may be a timedelta, in seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def _reason(error: BaseException) -> str:
    """The innermost reason: httpx wraps the error of the system several times."""
    reason = type(error).__name__
    cause: BaseException | None = error
    while cause is not None:
        reason = getattr(cause, "strerror", None) or reason
        cause = cause.__cause__ or cause.__context__
    return reason
