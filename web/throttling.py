"""Slows down guessing of tokens: an address that has sent too many invalid ones is answered 429.

Only failures count, so that a valid token is never refused. Each process counts for itself.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address

from flask import Flask, request
from flask_limiter import Limiter, RateLimitExceeded
from limits.storage import MemoryStorage

from avtomatika.errors import AvtomatikaError, TooManyAttemptsError, UnauthorizedError

#: Invalid tokens accepted from one address.
FAILURES_PER_MINUTE = 60
#: Counters kept; beyond that the oldest is dropped.
MOST_ADDRESSES = 4096
#: Headers that carry tokens: a request without any is no guess.
_TOKEN_HEADERS = ("X-Client-Token", "Authorization", "X-Worker-Token")
_NETWORK_BITS = 64
_WINDOW_SECONDS = 60


class BoundedMemoryStorage(MemoryStorage):
    """Counters in memory, at most ``MOST_ADDRESSES``."""

    STORAGE_SCHEME = ["bounded-memory"]  # noqa: RUF012 - as the base class has it

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        if key not in self.storage and len(self.storage) >= MOST_ADDRESSES:
            self.clear(next(iter(self.storage)))
        return super().incr(key, expiry, amount)


class FailureThrottle:
    """Counts failed authentications of *app* by address. Thread-safe."""

    def __init__(self, app: Flask) -> None:
        self._limiter = Limiter(client_network, app=app, storage_uri="bounded-memory://")
        self._check = self._limiter.shared_limit(f"{FAILURES_PER_MINUTE} per minute", scope="tokens")(_checked)

    def count(self) -> None:
        """Count one failure of this request's address; raises TooManyAttemptsError if it has had too many."""
        try:
            self._check()
        except RateLimitExceeded:
            raise TooManyAttemptsError(retry_after_seconds=_WINDOW_SECONDS) from None

    def counted(self, error: AvtomatikaError, *, has_token: bool = False) -> AvtomatikaError:
        """*error*, or TooManyAttemptsError in its place if it is one invalid token too many.

        *has_token* says that the request has one; otherwise its headers tell.
        """
        has_token = has_token or any(request.headers.get(name) for name in _TOKEN_HEADERS)
        if isinstance(error, UnauthorizedError) and has_token:
            try:
                self.count()
            except TooManyAttemptsError as too_many:
                return too_many
        return error


def client_network() -> str:
    """The address that this request comes from; of an IPv6 address its /64 network, which belongs to one client."""
    try:
        address = ip_address(request.remote_addr or "")
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(IPv6Address(int(address) >> _NETWORK_BITS << _NETWORK_BITS))
    return str(address)


def _checked() -> None:
    """Called once the limit has been checked."""
