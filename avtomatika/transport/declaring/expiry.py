"""Expiry of queues and messages: AMQP's ``x-expires``, ``x-message-ttl`` and ``auto_delete``.

A queue is in use while a channel consumes from it; a channel that died counts for one more lease. Consumers delete
expired queues when they reclaim leases.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Self

from avtomatika.transport.connection.redis_client import RedisClient
from avtomatika.transport.options import Options
from avtomatika.transport.publishing.routing import Router
from avtomatika.transport.scripts import EXPIRED_QUEUES, SET_LIMITS, TOUCH_QUEUES, Argument, Call

from .topology import Topology

_REMOVALS = 100
#: Queue arguments of this transport: ``x-expires`` does not delete a queue with messages; a queue is taken in turns as
#: soon as messages of several fairness keys or priorities, or with limits, are published to it.
IF_EMPTY, FAIR = "x-expires-if-empty", "x-fair"


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits in milliseconds; None means no limit."""

    message_ttl_ms: int | None = None
    expires_ms: int | None = None
    #: True if it may expire before its first use.
    expires_unused: bool = True
    #: True if the queue is deleted with its consumer.
    is_transient: bool = False
    #: True if it does not expire while it contains messages that are not revoked.
    only_if_empty: bool = False
    is_fair: bool = False

    @classmethod
    def read(cls, arguments: Mapping[str, Any] | None, *, is_auto_delete: bool) -> Self | None:
        """Read the limits from a queue's declaration; None if it has none."""
        arguments = arguments or {}
        ttl, expires = arguments.get("x-message-ttl"), arguments.get("x-expires")
        is_fair = bool(arguments.get(FAIR))
        if ttl is None and expires is None and not is_auto_delete and not is_fair:
            return None
        return cls(
            _milliseconds(ttl),
            0 if expires is None and is_auto_delete else _milliseconds(expires),
            expires_unused=expires is not None,
            is_transient=is_auto_delete,
            only_if_empty=expires is not None and bool(arguments.get(IF_EMPTY)),
            is_fair=is_fair,
        )


class Expiry:
    """Sets the limits of queues and deletes expired ones, in all shards of *router*."""

    def __init__(self, server: RedisClient, topology: Topology, router: Router, options: Options) -> None:
        self._server = server
        self._topology = topology
        self._router = router
        self._shards = [each.keys for each in router.shards]
        self._lease_ms = round(options.lease_seconds * 1000)

    def set_limits(self, limits: Mapping[str, Limits]) -> None:
        """Set the *limits* of queues by name; the last declaration wins."""
        calls: list[Call] = []
        for queue, each in limits.items():
            ttl, expires = ("" if ms is None else ms for ms in (each.message_ttl_ms, each.expires_ms))
            flags = (int(each.expires_unused), int(each.only_if_empty), int(each.is_fair))
            for names in [router.keys for router in self._router.places(queue)]:
                keys = [names.queues, names.bell, names.limits, names.expiring, names.flow_limits]
                calls.append(Call(SET_LIMITS, keys, [queue, ttl, expires, *flags]))
        if calls:
            self._server.run_each(calls)

    def touch(self, queues: Iterable[str], server: RedisClient | None = None) -> None:
        """Keep *queues* for one lease; call again within that time. *server* overrides the usual client."""
        if names := list(queues):
            args: list[Argument] = [self._lease_ms, *names]
            calls = [Call(TOUCH_QUEUES, [keys.limits, keys.expiring], args) for keys in self._shards]
            (server or self._server).run_each(calls)

    @property
    def expired(self) -> list[Call]:
        """Scripts that return the names for :meth:`remove`."""
        return [Call(EXPIRED_QUEUES, [keys.expiring], [_REMOVALS]) for keys in self._shards]

    def remove(self, names: Iterable[bytes]) -> None:
        """Delete expired queues, unless they are in use again."""
        if queues := [name.decode() for name in names]:
            self._topology.delete_expired(queues)

    def remove_expired(self) -> None:
        self.remove(chain(*self._server.run_each(self.expired)))


def _milliseconds(value: Any) -> int | None:
    return None if value is None else max(int(value), 0)
