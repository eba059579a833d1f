"""Periodic work of consumers: reclaiming expired leases, moving delayed messages, removing dead consumers."""

import logging
from collections.abc import Collection, Container, Sequence
from math import inf
from time import monotonic
from typing import Any

from redis.exceptions import ResponseError

from avtomatika.transport.connection.redis_client import RedisClient
from avtomatika.transport.consuming.message import Entry, read_entries
from avtomatika.transport.consuming.qos import BATCH, ack_call
from avtomatika.transport.consuming.subscriptions import Subscriptions
from avtomatika.transport.declaring.expiry import Expiry
from avtomatika.transport.keys import GROUP, make_tag
from avtomatika.transport.options import Options
from avtomatika.transport.publishing.routing import Router
from avtomatika.transport.scripts import CLEAN_UP, MOVE_DELAYED, RECLAIM, REQUEUE, Argument, Call

from . import count_leases

logger = logging.getLogger(__name__)

#: Maximum interval for checking delays, if any.
_DUE_SECONDS = 1.0
_DUE_BATCH = 500
#: Interval for removing dead consumers, and how long they must have been idle.
_CLEAN_UP_SECONDS = 120.0
_IDLE_CONSUMER_SECONDS = 120.0


class Maintenance:
    """Maintains the subscribed queues. Not thread-safe."""

    def __init__(
        self,
        server: RedisClient,
        router: Router,
        expiry: Expiry,
        subscriptions: Subscriptions,
        options: Options,
    ) -> None:
        self._server = server
        self._router = router
        self._expiry = expiry
        self._subscriptions = subscriptions
        self._options = options
        #: Stream -> position of the reclaim scan.
        self._cursors: dict[str, str] = {}
        self._reclaim_at = self._due_at = 0.0
        #: When a limit lets a message start.
        self._token_at = inf
        self._clean_up_at = monotonic() + _CLEAN_UP_SECONDS
        self._last_error = ""

    def run_due(self, now: float) -> None:
        """Run due work that yields no messages. Errors of the server do not hold up delivery."""
        try:
            if now >= self._due_at:
                self._due_at = now + _DUE_SECONDS
                self._move_delayed(now)
            if now >= self._clean_up_at:
                self._clean_up_at = now + _CLEAN_UP_SECONDS
                self.clean_up()
        except ResponseError as error:
            if str(error) != self._last_error:
                logger.error("cannot move delayed messages or remove dead consumers: %s", error)
            self._last_error = str(error)

    def is_reclaim_due(self, now: float) -> bool:
        return now >= self._reclaim_at

    def reclaim(self, now: float, acks: Sequence[str]) -> list[Entry]:
        """Send *acks* and reclaim expired leases, returning at most one deliverable message.

        Leases of a consumer that is connected but blocked expire after the visibility timeout.
        """
        keys, options = self._router.keys, self._options
        streams = [stream for stream, _ in self._subscriptions.streams]
        cursors = [self._cursors.get(stream, "0-0") for stream in streams]
        args: list[Argument] = [self._router.consumer_name, round(options.lease_seconds * 1000), options.max_deliveries]
        args += (round(options.visibility_timeout * 1000), keys.presence(""), *cursors)
        args += [queue for _, queue in self._subscriptions.streams]
        calls = [*self._expiry.expired, Call(RECLAIM, [keys.beat, keys.revoked, keys.queues, *streams], args)]
        if acks:
            calls.insert(0, ack_call(self._router.consumer_name, acks))
        *_, expired, answer = self._server.run_each(calls)
        self._expiry.remove(expired)
        self._cursors = {stream: answer[1 + place].decode() for place, stream in enumerate(streams)}
        self._reclaim_at = now + min(options.sweep_interval_seconds, answer[0] / 1000 if answer[0] >= 0 else inf)
        count_leases("taken_over", len(answer[1 + len(streams) :]) // 4)  # values of an entry
        return read_entries(self._subscriptions.streams, answer[1 + len(streams) :])

    def _move_delayed(self, now: float) -> None:
        keys, levels = self._subscriptions.delays()
        if not levels:  # until a queue has delays, which the bell reports
            self._due_at = inf
            return
        wait_ms = self._server.run(Call(MOVE_DELAYED, keys, [_DUE_BATCH, *levels]))
        self._due_at = now + (min(wait_ms / 1000, _DUE_SECONDS) if wait_ms >= 0 else _DUE_SECONDS)

    def check_delays(self) -> None:
        """Check delays in the next run: one may be due before all others."""
        self._due_at = 0.0

    def expect_tokens(self, wait_ms: int) -> None:
        """Record that a limit lets a message start after *wait_ms*; -1 if no message waits for a rate."""
        self._token_at = monotonic() + wait_ms / 1000 if wait_ms >= 0 else inf

    def has_tokens(self, now: float) -> bool:
        """Return whether that time has come, once."""
        if now < self._token_at:
            return False
        self._token_at = inf
        return True

    @property
    def aging_ms(self) -> int:
        """Milliseconds of waiting that count like one priority."""
        return round(self._options.priority_aging_seconds * 1000)

    def clean_up(self, leaving: str = "") -> None:
        """Remove consumers without messages, *leaving* and long idle ones, and old dead letters."""
        subscriptions = {stream for stream, _ in self._subscriptions.streams}
        dead = [self._router.keys.dead(queue) for queue in self._subscriptions.traits]
        calls = [self._clean_up_call(subscriptions, dead, leaving)]
        if left := self._subscriptions.read_streams - subscriptions:
            calls.append(self._clean_up_call(left, [], self._router.consumer_name))
        self._server.run_each(calls)
        self._subscriptions.read_streams = subscriptions

    def _clean_up_call(self, streams: Collection[str], dead: Sequence[str], leaving: str) -> Call:
        args: list[Argument] = [
            len(streams),
            leaving,
            round(_IDLE_CONSUMER_SECONDS * 1000),
            round(self._options.dead_letter_seconds * 1000),
        ]
        return Call(CLEAN_UP, [*streams, *dead], args)

    def requeue_orphans(self, held: Container[str]) -> None:
        """Requeue messages leased to us in replies that were lost: pending but not *held*. Counts no delivery."""
        name = self._router.consumer_name
        streams = [stream for stream, _ in self._subscriptions.streams]
        commands = [("XPENDING", stream, GROUP, "-", "+", 2 * BATCH, name) for stream in streams]
        found: list[Any] = self._server.pipeline(commands)
        orphans = [
            (stream, entry[0].decode())
            for stream, pending in zip(streams, found, strict=True)
            if not isinstance(pending, ResponseError)
            for entry in pending
            if make_tag(stream, entry[0].decode()) not in held
        ]
        if orphans:
            self._server.run(
                Call(REQUEUE, [stream for stream, _ in orphans], [name, 0, *[entry for _, entry in orphans]])
            )

    @property
    def seconds_until_due(self) -> float:
        """Seconds until work is due."""
        return max(min(self._reclaim_at, self._due_at, self._token_at) - monotonic(), 0.0)
