"""Consuming in kombu's event loop, as Celery's workers do: waits for messages without blocking the loop."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any

from avtomatika.transport.connection.redis_client import RedisClient
from avtomatika.transport.errors import CONNECTION_ERRORS

from .waiting import BlockingRead, BlockingReads

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
        self._reads: dict[Any, BlockingReads] = {}
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
        reads = self._reads.pop(channel, None)
        if reads is not None:
            reads.close()

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
        for channel, reads in list(self._reads.items()):
            with self._resynchronized(channel):
                reads.check()

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
        reads = self._reads.get(channel)
        if reads is None:
            reads = self._reads[channel] = BlockingReads(
                self._server,
                self._timeout_seconds,
                opened=lambda read: self._hub.add_reader(read.fileno, self._on_readable, channel, read),
                closing=lambda read: self._hub.remove(read.fileno),
            )
        reads.begin(positions)

    def _turn_in(self, seconds: float) -> None:
        due = monotonic() + seconds
        if self._next_look is None or due < self._next_look:
            self._next_look = due
            self._hub.call_later(seconds, self._turn)
            self.wake()  # the hub has computed its timeout before it called us

    def _turn(self) -> None:
        self._next_look = None

    def _on_readable(self, channel: Any, read: BlockingRead) -> None:
        with self._resynchronized(channel):
            found = self._reads[channel].finish(read, channel.prefetch_buffer.positions)
        channel.prefetch_buffer.notify(found)

    @contextmanager
    def _resynchronized(self, channel: Any) -> Iterator[None]:
        """Stop waiting for messages of *channel* after a connection error."""
        try:
            yield
        except CONNECTION_ERRORS:
            self.forget(channel)
            channel.prefetch_buffer.resynchronize()
            raise
