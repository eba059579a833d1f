"""Asking a server over HTTP with one token: what it answers as JSON, and its errors as those of avtomatika.errors."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import requests

from avtomatika.errors import AvtomatikaError, InvalidRequestError, UnavailableError

from .problems import error_of


class Caller:
    """One server, asked with one token. The token is sent, never shown."""

    def __init__(self, base_url: str, token: str, *, timeout_seconds: float = 10.0) -> None:
        if urlsplit(base_url).scheme not in ("http", "https"):
            raise InvalidRequestError(f"{base_url!r} is no address of a server: it must begin with http:// or https://")
        self._base_url = base_url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._session = requests.Session()
        self._session.headers["X-Client-Token"] = token

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._base_url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._session.close()

    def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        response = self._ask(method, path, **options)
        try:
            answer = response.json()
        except requests.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict):
            raise AvtomatikaError(f"{self._base_url}{path} answered {response.status_code}, but no JSON object")
        return answer

    def _bytes(self, path: str, format: str) -> bytes:
        content: bytes = self._ask("GET", path, params={"format": format}).content
        return content

    def _ask(
        self, method: str, path: str, *, held_seconds: float = 0, is_redirected: bool = False, **options: Any
    ) -> requests.Response:
        """The answer that is none of an error; where *is_redirected*, the one that leads elsewhere."""
        url = self._base_url + path
        timeout = (self._timeout_seconds, self._timeout_seconds + held_seconds)
        try:
            # A redirect would carry the token to whatever place it names.
            response = self._session.request(method, url, timeout=timeout, allow_redirects=False, **options)
        except requests.Timeout:
            raise UnavailableError(f"{self._base_url} did not answer within {timeout[1]:g} s") from None
        except requests.RequestException as error:
            raise UnavailableError(f"{self._base_url} cannot be reached: {_reason(error)}") from None
        if response.ok and response.is_redirect == is_redirected:
            return response
        raise error_of(response, path)


def _reason(error: BaseException) -> str:
    """The innermost reason: requests wraps it three deep, with addresses of objects in between."""
    reason = type(error).__name__
    cause: BaseException | None = error
    while cause is not None:
        reason = getattr(cause, "strerror", None) or reason
        cause = cause.__cause__ or cause.__context__
    return reason
