"""The transport's errors, in addition to redis-py's."""

from kombu.exceptions import ChannelError, InconsistencyError
from redis import exceptions

#: The server is unreachable. Not OSError: a callback's OSError must not look like a lost connection.
CONNECTION_ERRORS = (exceptions.ConnectionError, exceptions.TimeoutError)
#: The server rejects a command.
CHANNEL_ERRORS = (ChannelError, exceptions.ResponseError, exceptions.DataError)

#: Error prefixes for a full disk and for missing replicas: redis-py has no classes for them.
_TROUBLES = ("MISCONF", "NOREPLICAS")


class NoRouteError(ChannelError, InconsistencyError):
    """No queue is bound for the message's routing key; it was not sent. kombu handles it as InconsistencyError."""

    def __init__(self, exchange: str, routing_key: str) -> None:
        super().__init__(f"NO_ROUTE: no queue is bound to exchange {exchange!r} with routing key {routing_key!r}")
        self.exchange = exchange
        self.routing_key = routing_key


class RerouteError(exceptions.ResponseError):
    """The bindings changed during every attempt to write. Nothing was written."""

    def __init__(self) -> None:
        super().__init__("REROUTE: the bindings keep changing; nothing was written")


class MessageTooLargeError(ChannelError):
    """The message exceeds ``max_message_bytes``; it was not sent."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"PRECONDITION_FAILED: a message of {size} bytes; {limit} are allowed")


class CallbackError(RuntimeError):
    """A consumer's callback raised an error that looks like a connection error; see ``__cause__``."""


def is_wrong_type(error: Exception) -> bool:
    """Return whether the error says that a key holds an unexpected type."""
    return str(error).startswith("WRONGTYPE")


def is_temporary(error: Exception) -> bool:
    """Return whether the server may accept the command later: it is out of memory, cannot write now, or a key holds an
    unexpected type that an operator has to remove."""
    is_full = isinstance(error, exceptions.OutOfMemoryError)
    return is_full or is_wrong_type(error) or str(error).startswith(_TROUBLES)
