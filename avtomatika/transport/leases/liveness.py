"""Detects whether a blocked process is alive: the server knows which connections are open.

A process whose interpreter is blocked, by a C extension or a busy gevent hub, cannot renew its leases, but its
connection stays open until it exits. So the connection that renews leases subscribes to a channel per consumer on which
nothing is ever published: a consumer whose channel has a subscriber is alive.
"""

import logging
from collections.abc import Collection, Iterable
from typing import Any

from redis.exceptions import ResponseError

from avtomatika.transport.connection.pool import Pool

logger = logging.getLogger(__name__)


class Liveness:
    """Subscriptions of one connection, on a cluster of one to each node. Not thread-safe."""

    def __init__(self) -> None:
        self._channels: set[str] = set()
        self._is_allowed = True

    def connected(self, connection: Any) -> None:
        """Subscribe on a newly opened connection; redis-py calls it in place of ``on_connect``."""
        connection.on_connect()
        if self._channels and self._is_allowed:
            self._send(connection, "SUBSCRIBE", *self._channels)

    def add(self, pools: Iterable[Pool], channels: Collection[str]) -> None:
        self._channels.update(channels)
        self._change(pools, "SUBSCRIBE", channels)

    def remove(self, pools: Iterable[Pool], channels: Collection[str]) -> None:
        if not self._channels.isdisjoint(channels):
            self._channels.difference_update(channels)
            self._change(pools, "UNSUBSCRIBE", channels)

    def _change(self, pools: Iterable[Pool], command: str, channels: Collection[str]) -> None:
        for pool in pools if self._is_allowed else ():
            connection = pool.acquire()
            try:
                self._send(connection, command, *channels)
            except BaseException:
                pool.fail(connection)
                raise
            pool.release(connection)

    def _send(self, connection: Any, command: str, *channels: str) -> None:
        connection.send_command(command, *channels, check_health=False)
        try:
            for _ in channels:
                connection.read_response(push_request=True)
        except ResponseError as error:
            self._is_allowed = False
            logger.warning(
                "a process that is blocked for longer than lease_seconds loses its leases: "
                "the user has no permission to subscribe to channels (%s)",
                error,
            )
