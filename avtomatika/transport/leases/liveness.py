"""Detects whether a blocked process is alive: the server knows which connections are open.

A process whose interpreter is blocked, by a C extension or a busy gevent hub, cannot renew its leases, but its
connection stays open until it exits. So the connection that renews leases subscribes to a channel per consumer on which
nothing is ever published: a consumer whose channel has a subscriber is alive.
"""

import logging
from typing import Any

from redis.exceptions import ResponseError

from avtomatika.transport.connection.pool import Pool

logger = logging.getLogger(__name__)


class Liveness:
    """Subscriptions of one connection. Not thread-safe."""

    def __init__(self) -> None:
        self._channels: set[str] = set()
        self._is_allowed = True

    def connected(self, connection: Any) -> None:
        """Subscribe on a newly opened connection; redis-py calls it in place of ``on_connect``."""
        connection.on_connect()
        if self._channels and self._is_allowed:
            self._send(connection, "SUBSCRIBE", *self._channels)

    def add(self, pool: Pool, channel: str) -> None:
        self._channels.add(channel)
        self._change(pool, "SUBSCRIBE", channel)

    def remove(self, pool: Pool, channel: str) -> None:
        if channel in self._channels:
            self._channels.remove(channel)
            self._change(pool, "UNSUBSCRIBE", channel)

    def _change(self, pool: Pool, command: str, channel: str) -> None:
        if not self._is_allowed:
            return
        connection = pool.acquire()
        try:
            self._send(connection, command, channel)
        except BaseException:
            pool.discard(connection)
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
