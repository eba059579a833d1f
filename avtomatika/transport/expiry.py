"""Queues and messages that are not for ever: AMQP's ``x-expires``, ``x-message-ttl`` and ``auto_delete``.

A queue is used as long as somebody consumes from it; a channel that died counts as using it for one more lease. Who
sweeps removes what has expired.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .keys import Keys
from .redis_client import RedisClient
from .scripts import EXPIRED, LIMIT, USE, Call
from .topology import Topology

_REMOVALS = 100


@dataclass(frozen=True, slots=True)
class Limits:
    """In milliseconds; None: without end."""

    message_ttl_ms: int | None = None
    expires_ms: int | None = None
    #: Whether it may expire before anybody has used it.
    expires_unused: bool = True
    #: Whether the queue ends with its consumer.
    is_transient: bool = False

    @classmethod
    def read(cls, arguments: Mapping[str, Any] | None, *, is_auto_delete: bool) -> Limits | None:
        """What the declaration of a queue says; None where it says nothing of limits."""
        arguments = arguments or {}
        ttl, expires = arguments.get("x-message-ttl"), arguments.get("x-expires")
        if ttl is None and expires is None and not is_auto_delete:
            return None
        if expires is None:
            expires_ms = 0 if is_auto_delete else None
            return cls(_milliseconds(ttl), expires_ms, expires_unused=False, is_transient=is_auto_delete)
        return cls(_milliseconds(ttl), _milliseconds(expires), is_transient=is_auto_delete)


class Expiry:
    """Knows which queues have an end."""

    def __init__(self, server: RedisClient, topology: Topology, keys: Keys, *, lease_seconds: float) -> None:
        self._server = server
        self._topology = topology
        self._keys = keys
        self._lease_ms = round(lease_seconds * 1000)

    def limit(self, queue: str, limits: Limits) -> None:
        """The last declaration counts."""
        ttl, expires = ("" if ms is None else ms for ms in (limits.message_ttl_ms, limits.expires_ms))
        keys = [self._keys.queues(), self._keys.bell(), self._keys.limits(), self._keys.expiring()]
        self._server.run(Call(LIMIT, keys, [queue, ttl, expires, int(limits.expires_unused)]))

    def use(self, queues: Iterable[str], server: RedisClient | None = None) -> None:
        """Keep *queues* for a lease; to be told again within that time. *server*: by another way than usual."""
        if names := list(queues):
            call = Call(USE, [self._keys.limits(), self._keys.expiring()], [self._lease_ms, *names])
            (server or self._server).run(call)

    @property
    def expired(self) -> Call:
        """Script that answers the names for :meth:`remove`."""
        return Call(EXPIRED, [self._keys.expiring()], [_REMOVALS])

    def remove(self, names: Iterable[bytes]) -> None:
        """Remove queues that have expired, unless somebody uses them again."""
        for name in names:
            self._topology.delete_queue(name.decode(), if_expired=True)

    def remove_expired(self) -> None:
        self.remove(self._server.run(self.expired))


def _milliseconds(value: Any) -> int | None:
    return None if value is None else max(int(value), 0)
