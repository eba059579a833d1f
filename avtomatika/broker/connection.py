"""Connecting to a broker, and translating its errors."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any

from kombu import Connection
from kombu.exceptions import OperationalError

from avtomatika import errors
from avtomatika.transport import NoRouteError, RedisClient, is_temporary
from avtomatika.transport.keys import PREFIX
from avtomatika.transport.options import LEASE_SECONDS

_TRANSPORT = "avtomatika.transport:Transport"
_SCHEMES = ("redis", "rediss", "unix", "sentinel", "redis+cluster", "rediss+cluster")
#: Schemes of addresses with several hosts; ``cluster`` is the name for kombu.
_SEVERAL_HOSTS = ("sentinel", "redis+cluster", "rediss+cluster", "cluster")


def connect(
    url: str,
    *,
    prefixes: Sequence[str] = (PREFIX,),
    server: RedisClient | None = None,
    lease_seconds: float = LEASE_SECONDS,
    **options: Any,
) -> Connection:
    """Return a connection to the broker at *url*, with the transport's *options*; sends nothing yet.

    Opens at most ``max_connections`` plus one that renews leases; with *server* it shares that client's connections and
    prefixes of keys.
    Supports ``redis``, ``rediss``, ``unix``, ``sentinel://host[:port][;host...]/db?master_name=name`` and
    ``redis+cluster://host[:port][,host...]`` (``rediss+cluster``). Raises ValueError for other schemes.
    """
    scheme = url.partition("://")[0]
    if scheme not in _SCHEMES:
        raise ValueError(f"no transport for {redacted_url(url)!r}: the scheme must be one of {', '.join(_SCHEMES)}")
    if scheme == "sentinel":
        url = url.replace(";", ",")  # kombu takes a semicolon as the separator of failover addresses
    if scheme.endswith("+cluster"):  # and what is before a plus as the name of a transport
        url = "cluster" + url[len(scheme) :]
    options = {
        "prefixes": server.prefixes if server else tuple(prefixes),
        "server": server,
        "lease_seconds": lease_seconds,
        "visibility_timeout": lease_seconds,  # a process that hangs loses its messages to others
        "requeue_on_close": False,  # running tasks continue while a connection is replaced
        "max_retries": 1,  # to connect, within one call of kombu's; the caller decides whether to retry
        "interval_start": 0,
        **options,
    }
    return Connection(url, transport=_TRANSPORT, ssl=scheme == "rediss+cluster", transport_options=options)


def for_shards(connection: Connection, prefixes: Sequence[str]) -> Connection:
    """Return a new connection like *connection* for the shards with these prefixes of keys."""
    options = copy(connection.transport_options)  # with its credentials for sentinels
    options["prefixes"] = tuple(prefixes)
    return connection.clone(transport_options=options)


def identity(connection: Connection) -> str:
    """Return the identifier of this broker's data, independent of its address. Raises UnavailableError."""
    with translated(connection), connection.channel() as channel:
        return str(channel.router.identity)


def redacted_url(url: str) -> str:
    """Return *url* without credentials and options, for use in messages.

    >>> redacted_url("redis://me:secret@localhost:6379/0?x=1")
    'redis://localhost:6379/0'
    """
    scheme, mark, rest = url.partition("://")
    place, *options = re.split("[?#]", rest, maxsplit=1)
    if any("@" in option for option in options):  # perhaps an unquoted password
        return f"{scheme}{mark}..."
    hosts = re.split("[,;](?:sentinel://)?", place) if scheme in _SEVERAL_HOSTS else [place]
    return scheme + mark + ",".join(host.rpartition("@")[2] for host in hosts)


@contextmanager
def translated(connection: Connection) -> Iterator[None]:
    """Convert the transport's errors: UnavailableError while the broker is unreachable or full, and our
    NoRouteError."""
    try:
        yield
    except NoRouteError as error:
        raise errors.NoRouteError(error.exchange, error.routing_key) from error
    except connection.transport.channel_errors as error:
        if not is_temporary(error):
            raise
        where = redacted_url(connection.hostname)
        raise errors.UnavailableError(f"broker {where} takes nothing new: {error}", retry_after_seconds=10) from error
    except (*connection.transport.connection_errors, OperationalError) as error:
        raise errors.UnavailableError(f"broker {redacted_url(connection.hostname)} does not answer: {error}") from error
