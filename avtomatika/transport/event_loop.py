"""Consuming in kombu's event loop, as Celery's workers do: the loop waits for messages, and nothing blocks it."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any

from redis.exceptions import ConnectionError, ResponseError

from .errors import CONNECTION_ERRORS, is_wrong_type
from .keys import is_after
from .redis_client import RedisClient, pack
from .scripts import Argument

#: The loop must look at the clock at least this often.
_TICK_SECONDS = 1.0
#: A channel whose credit is decided by somebody else is asked this often while it has none.
_SHORT_TICK_SECONDS = 0.05
#: Longest time for which messages are delivered before the loop serves its other callers.
_TURN_SECONDS = 0.01


class EventLoopConsumer:
    """Delivers messages to the channels of *transport* whenever the hub turns, and tells the hub when to turn."""

    def __init__(self, transport: Any, hub: Any, *, server: RedisClient, timeout_seconds: float) -> None:
        self._transport = transport
        self._hub = hub
        #: For the reads that wait: they must not take connections away from others.
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
        """Have the hub turn at once. Any thread."""
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
            channel.on_credit(self.wake)
            channel.credit_freed.clear()
        until = monotonic() + _TURN_SECONDS
        while self._transport.deliver_all(channels):
            self.wake()  # what waits for this turn, as Celery's pool does, may have had its turn before
            if monotonic() > until:
                break
        for channel in channels:
            self._wait_for(channel)

    def _look_at_the_clock(self) -> None:
        """Raise ConnectionError for a read that should have ended; turning is what the hub does anyway."""
        for channel, read in list(self._reads.items()):
            if monotonic() > read.deadline:
                self.forget(channel)
                channel.doubt()
                raise ConnectionError("the server does not answer")

    def _wait_for(self, channel: Any) -> None:
        """See to it that the hub turns as soon as there may be something to deliver to *channel*."""
        if not channel.has_credit:
            if channel.is_credit_foreign:
                self._turn_in(_SHORT_TICK_SECONDS)
            return
        places = channel.places
        if not places:
            self.wake()
            return
        if channel.patience < _TICK_SECONDS:
            self._turn_in(channel.patience)
        read = self._reads.get(channel)
        if read is not None and read.streams and read.streams != places.keys():  # it would miss what is new
            self.forget(channel)
            read = None
        if read is None:
            read = self._reads[channel] = BlockingRead(self._server, self._timeout_seconds)
            self._hub.add_reader(read.fileno, self._on_readable, channel)
        if not read.streams:
            read.begin(places)

    def _turn_in(self, seconds: float) -> None:
        due = monotonic() + seconds
        if self._next_look is None or due < self._next_look:
            self._next_look = due
            self._hub.call_later(seconds, self._turn)
            self.wake()  # the hub has looked at its timers before it called us

    def _turn(self) -> None:
        self._next_look = None

    def _on_readable(self, channel: Any) -> None:
        read = self._reads[channel]
        if not read.streams:  # the server has closed a connection that nobody used
            self.forget(channel)
            return
        try:
            news = read.finish()
        except CONNECTION_ERRORS:
            self.forget(channel)
            channel.doubt()
            raise
        places = channel.places
        channel.hear({stream for stream, entry in news.items() if is_after(entry, places.get(stream, "0-0"))})


class BlockingRead:
    """A connection of its own for reads that are answered when a stream has something new, or after a while."""

    def __init__(self, server: RedisClient, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._block_ms = max(round(timeout_seconds * 500), 1)
        self._pool = server.pool
        self._connection = self._pool.acquire()
        self.fileno: int = self._connection._sock.fileno()
        #: What is read at the moment; empty: nothing.
        self.streams: frozenset[str] = frozenset()
        self.deadline = inf

    def begin(self, places: Mapping[str, str]) -> None:
        """Ask for what comes after *places*: stream -> id."""
        command: Sequence[Argument] = (
            "XREAD",
            "COUNT",
            1,
            "BLOCK",
            self._block_ms,
            "STREAMS",
            *places,
            *places.values(),
        )
        self._connection.send_packed_command([pack(command)], check_health=False)
        self.streams = frozenset(places)
        self.deadline = monotonic() + self._block_ms / 1000 + self._timeout_seconds

    def finish(self) -> dict[str, str]:
        """Stream -> id of its first new entry; "" for all of them where one holds something foreign."""
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
