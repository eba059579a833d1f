"""Slows down guessing of tokens: an address that has sent too many invalid ones is answered 429.

Only failures count, so a valid token is never rejected. Each process counts separately.
"""

from ipaddress import IPv6Address, ip_address

from flask import Flask, request
from flask_limiter import Limiter, RateLimitExceeded
from limits.storage import MemoryStorage

from avtomatika.errors import AvtomatikaError, TooManyAttemptsError, UnauthorizedError

#: Invalid tokens that one address may send.
FAILURES_PER_MINUTE = 60
#: Maximum number of counters; beyond it the oldest is dropped.
MOST_ADDRESSES = 4096
#: Headers with tokens: a request without one is not a guess.
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
        """Count a failure of the address of this request. Raises TooManyAttemptsError beyond the limit."""
        try:
            self._check()
        except RateLimitExceeded:
            raise TooManyAttemptsError(retry_after_seconds=_WINDOW_SECONDS) from None

    def counted(self, error: AvtomatikaError, *, has_token: bool = False) -> AvtomatikaError:
        """Count *error* if it is an invalid token; return it, or TooManyAttemptsError beyond the limit.

        *has_token* says that the request has one; otherwise its headers are checked.
        """
        has_token = has_token or any(request.headers.get(name) for name in _TOKEN_HEADERS)
        if isinstance(error, UnauthorizedError) and has_token:
            try:
                self.count()
            except TooManyAttemptsError as too_many:
                return too_many
        return error


def client_network() -> str:
    """Return the address of this request; for IPv6 its /64 network, which belongs to one client."""
    try:
        address = ip_address(request.remote_addr or "")
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(IPv6Address(int(address) >> _NETWORK_BITS << _NETWORK_BITS))
    return str(address)


def _checked() -> None:
    """Do nothing: flask-limiter calls it after the check."""
