"""What the transport raises beside redis-py's own errors."""

from __future__ import annotations

from kombu.exceptions import ChannelError, InconsistencyError
from redis import exceptions

#: The server is away, or the way to it is. No OSError: one of a user's callback must not look like a lost connection.
CONNECTION_ERRORS = (exceptions.ConnectionError, exceptions.TimeoutError)
#: The server refuses what was asked.
CHANNEL_ERRORS = (ChannelError, exceptions.ResponseError, exceptions.DataError)

#: Words of a server whose disk is full, whose replicas are away: redis-py has no classes for them.
_TROUBLES = ("MISCONF", "NOREPLICAS")


class NoRouteError(ChannelError, InconsistencyError):
    """A message whose routing key leads nowhere. It was not sent. kombu knows it as InconsistencyError."""

    def __init__(self, exchange: str, routing_key: str) -> None:
        super().__init__(f"NO_ROUTE: no queue is bound to exchange {exchange!r} with routing key {routing_key!r}")
        self.exchange = exchange
        self.routing_key = routing_key


class MessageTooLargeError(ChannelError):
    """A message above ``max_message_bytes``. It was not sent."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"PRECONDITION_FAILED: a message of {size} bytes; {limit} are allowed")


class CallbackError(RuntimeError):
    """A consumer's callback raised what would look like an error of the connection; ``__cause__`` is what it raised."""


def is_wrong_type(error: Exception) -> bool:
    """Whether a key holds something else than we would keep there."""
    return str(error).startswith("WRONGTYPE")


def is_temporary(error: Exception) -> bool:
    """Whether the server refuses now what it may take later: it is full, cannot write at the moment, or holds something
    foreign that somebody has to remove."""
    is_full = isinstance(error, exceptions.OutOfMemoryError)
    return is_full or is_wrong_type(error) or str(error).startswith(_TROUBLES)
