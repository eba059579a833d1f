"""Consuming in kombu's event loop, as Celery's workers do: waits for messages without blocking the loop."""

import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any

from redis.exceptions import ConnectionError, ResponseError

from avtomatika.transport.connection.exchange import pack
from avtomatika.transport.connection.redis_client import RedisClient
from avtomatika.transport.errors import CONNECTION_ERRORS, is_wrong_type
from avtomatika.transport.keys import is_after
from avtomatika.transport.scripts import Argument

#: The loop checks its timers at least this often.
_TICK_SECONDS = 1.0
#: Polling interval for a channel without credit whose can_consume has been replaced.
_SHORT_TICK_SECONDS = 0.05
#: Maximum time spent on delivering before other callbacks of the loop run.
_TURN_SECONDS = 0.01


class EventLoopConsumer:
    """Delivers messages to the channels of *transport* on each tick of the hub, and wakes the hub when there are
    any."""

    def __init__(self, transport: Any, hub: Any, *, server: RedisClient, timeout_seconds: float) -> None:
        self._transport = transport
        self._hub = hub
        #: For blocking reads: they must not occupy connections that other commands need.
        self._server = server
        self._timeout_seconds = timeout_seconds
        self._reads: dict[Any, BlockingRead] = {}
        self._inner, self._outer = socket.socketpair()
        self._inner.setblocking(False)
        self._outer.setblocking(False)
        self._is_awake = False
        hub.add_reader(self._inner.fileno(), self._on_wake)
        hub.on_tick.add(self._on_tick)
        self._timers = [hub.call_repeatedly(_TICK_SECONDS, self._look_at_the_clock)]
        self._next_look: float | None = None

    def wake(self) -> None:
        """Run the hub's next tick immediately. Any thread may call it."""
        if not self._is_awake:
            self._is_awake = True
            with suppress(OSError):  # it is closed
                self._outer.send(b"\0")

    def forget(self, channel: Any) -> None:
        """Stop waiting for messages of *channel*."""
        read = self._reads.pop(channel, None)
        if read is not None:
            self._hub.remove(read.fileno)
            read.close()

    def close(self) -> None:
        for channel in list(self._reads):
            self.forget(channel)
        self._hub.on_tick.discard(self._on_tick)
        for timer in self._timers:
            timer.cancel()
        self._hub.remove(self._inner.fileno())
        self._inner.close()
        self._outer.close()

    # ------------------------------------------------------------ callbacks of the hub

    def _on_wake(self) -> None:
        self._inner.recv(4096)
        self._is_awake = False

    def _on_tick(self) -> None:
        channels = [channel for channel in self._transport.channels if channel.is_consuming]
        for channel in channels:
            channel.qos.on_credit_freed = self.wake
            channel.qos.credit_freed.clear()
        until = monotonic() + _TURN_SECONDS
        while self._transport.deliver_all(channels):
            self.wake()  # on_tick callbacks, like the one of Celery's pool, may have run before ours
            if monotonic() > until:
                break
        for channel in channels:
            self._wait_for(channel)

    def _look_at_the_clock(self) -> None:
        """Raise ConnectionError for an overdue read. The timer itself makes the hub tick."""
        for channel, read in list(self._reads.items()):
            if monotonic() > read.deadline:
                self.forget(channel)
                channel.prefetch_buffer.resynchronize()
                raise ConnectionError("the server does not answer")

    def _wait_for(self, channel: Any) -> None:
        """Ensure that the hub ticks when there may be messages for *channel*."""
        if not channel.has_credit:
            if channel.qos.is_credit_overridden:
                self._turn_in(_SHORT_TICK_SECONDS)
            return
        positions = channel.prefetch_buffer.positions
        if not positions:
            self.wake()
            return
        if (seconds := channel.prefetch_buffer.seconds_until_due) < _TICK_SECONDS:
            self._turn_in(seconds)
        read = self._reads.get(channel)
        if read is not None and read.streams and read.streams != positions.keys():  # it would miss new streams
            self.forget(channel)
            read = None
        if read is None:
            read = self._reads[channel] = BlockingRead(self._server, self._timeout_seconds)
            self._hub.add_reader(read.fileno, self._on_readable, channel)
        if not read.streams:
            read.begin(positions)

    def _turn_in(self, seconds: float) -> None:
        due = monotonic() + seconds
        if self._next_look is None or due < self._next_look:
            self._next_look = due
            self._hub.call_later(seconds, self._turn)
            self.wake()  # the hub has computed its timeout before it called us

    def _turn(self) -> None:
        self._next_look = None

    def _on_readable(self, channel: Any) -> None:
        read = self._reads[channel]
        if not read.streams:  # the server has closed an idle connection
            self.forget(channel)
            return
        try:
            news = read.finish()
        except CONNECTION_ERRORS:
            self.forget(channel)
            channel.prefetch_buffer.resynchronize()
            raise
        positions = channel.prefetch_buffer.positions
        channel.prefetch_buffer.notify(
            {stream for stream, entry in news.items() if is_after(entry, positions.get(stream, "0-0"))}
        )


class BlockingRead:
    """A connection for blocking reads: XREAD returns when a stream has new entries, or times out."""

    def __init__(self, server: RedisClient, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._block_ms = max(round(timeout_seconds * 500), 1)
        self._pool = server.pool_of(server.prefix)
        self._connection = self._pool.acquire()
        self.fileno: int = self._connection._sock.fileno()
        #: Streams of the current read; empty between reads.
        self.streams: frozenset[str] = frozenset()
        self.deadline = inf

    def begin(self, positions: Mapping[str, str]) -> None:
        """Read entries after *positions*: stream -> id."""
        command: Sequence[Argument] = (
            "XREAD",
            "COUNT",
            1,
            "BLOCK",
            self._block_ms,
            "STREAMS",
            *positions,
            *positions.values(),
        )
        self._connection.send_packed_command([pack(command)], check_health=False)
        self.streams = frozenset(positions)
        self.deadline = monotonic() + self._block_ms / 1000 + self._timeout_seconds

    def finish(self) -> dict[str, str]:
        """Return each stream's first new entry id, or "" for all streams if one of their keys holds an
        unexpected type."""
        streams, self.streams, self.deadline = self.streams, frozenset(), inf
        try:
            answer = self._connection.read_response()
        except ResponseError as error:
            if is_wrong_type(error):
                return dict.fromkeys(streams, "")
            raise ConnectionError(f"the server has ended a read: {error}") from error
        news = answer.items() if isinstance(answer, dict) else answer or ()
        return {stream.decode(): entries[0][0].decode() for stream, entries in news}

    def close(self) -> None:
        self._pool.discard(self._connection)
