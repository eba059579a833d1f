"""Signs of life that a blocked process gives: the server knows which connections are open.

A process whose interpreter is held up, by a C extension or a busy gevent hub, renews no lease, but its connection stays
open until it ends. So the connection that renews leases subscribes to a channel for each consumer, on which nothing is
ever published: a consumer whose channel has a subscriber is alive.
"""

from __future__ import annotations

import logging
from typing import Any

from redis.exceptions import ResponseError

from .pool import Pool

logger = logging.getLogger(__name__)


class Presence:
    """The channels of one connection. Its users take care that no two of them use it at once."""

    def __init__(self) -> None:
        self._channels: set[str] = set()
        self._is_allowed = True

    def connected(self, connection: Any) -> None:
        """Subscribe with a connection that has just been opened; redis-py calls it in place of ``on_connect``."""
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
                "a process that is blocked longer than lease_seconds loses its messages to others: "
                "the user may not subscribe to channels (%s)",
                error,
            )
