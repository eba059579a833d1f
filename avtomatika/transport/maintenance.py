"""What consumers do by the clock: take over what nobody renews, move what became due, remove who is gone."""

from __future__ import annotations

import logging
from collections.abc import Collection, Container, Sequence
from math import inf
from time import monotonic
from typing import Any

from redis.exceptions import ResponseError

from .entries import Entry, read_entries
from .expiry import Expiry
from .keys import GROUP, make_tag
from .qos import BATCH, ack_call
from .redis_client import RedisClient
from .routing import Router
from .scripts import CLEAN, DUE, REQUEUE, SWEEP, Argument, Call
from .subscriptions import Subscriptions

logger = logging.getLogger(__name__)

#: How often delays are looked at, at least, where there are any.
_DUE_SECONDS = 1.0
_DUE_BATCH = 500
#: How often consumers that are gone are looked for, and how long one must have been silent.
_CLEAN_SECONDS = 120.0
_SILENT_SECONDS = 120.0


class Maintenance:
    """Looks after the queues in *watched*. For one thread."""

    def __init__(
        self,
        server: RedisClient,
        router: Router,
        expiry: Expiry,
        *,
        watched: Subscriptions,
        lease_seconds: float,
        visibility_seconds: float,
        sweep_seconds: float,
        max_deliveries: int,
        dead_letter_seconds: float,
    ) -> None:
        self._server = server
        self._router = router
        self._expiry = expiry
        self._watched = watched
        self._lease_ms = round(lease_seconds * 1000)
        self._visibility_ms = round(visibility_seconds * 1000)
        self._sweep_seconds = sweep_seconds
        self._max_deliveries = max_deliveries
        self._dead_letter_seconds = dead_letter_seconds
        #: Stream -> how far the sweep is.
        self._cursors: dict[str, str] = {}
        self._sweep_at = self._due_at = 0.0
        self._clean_at = monotonic() + _CLEAN_SECONDS
        self._refusal = ""

    def tidy(self, now: float) -> None:
        """Do what is due of all that brings nothing. What the server refuses of it holds up no message."""
        try:
            if now >= self._due_at:
                self._due_at = now + _DUE_SECONDS
                self._move_delayed(now)
            if now >= self._clean_at:
                self._clean_at = now + _CLEAN_SECONDS
                self.clean()
        except ResponseError as error:
            if str(error) != self._refusal:
                logger.error("delayed messages and consumer names are not looked after: %s", error)
            self._refusal = str(error)

    def is_sweep_due(self, now: float) -> bool:
        return now >= self._sweep_at

    def sweep(self, now: float, acks: Sequence[str]) -> list[Entry]:
        """Send *acks* and take over what nobody renewed for a lease: one that may be delivered at most.

        What a consumer holds that is connected, but blocked, is left to it for longer.
        """
        keys = self._router.keys
        streams = [stream for stream, _ in self._watched.streams]
        cursors = [self._cursors.get(stream, "0-0") for stream in streams]
        args: list[Argument] = [self._router.consumer_name, self._lease_ms, self._max_deliveries]
        args += (self._visibility_ms, keys.presence(""), *cursors)
        calls = [self._expiry.expired, Call(SWEEP, [keys.beat(), keys.revoked(), *streams], args)]
        if acks:
            calls.insert(0, ack_call(self._router.consumer_name, acks))
        *_, expired, answer = self._server.run_each(calls)
        self._expiry.remove(expired)
        self._cursors = {stream: answer[1 + place].decode() for place, stream in enumerate(streams)}
        self._sweep_at = now if answer[0] else now + self._sweep_seconds
        return read_entries(self._watched.streams, answer[1 + len(streams) :])

    def _move_delayed(self, now: float) -> None:
        keys, levels = self._watched.delays()
        if not levels:  # until the bell tells of a queue that has delays
            self._due_at = inf
            return
        wait_ms = self._server.run(Call(DUE, keys, [_DUE_BATCH, *levels]))
        self._due_at = now + (min(wait_ms / 1000, _DUE_SECONDS) if wait_ms >= 0 else _DUE_SECONDS)

    def look_for_delays(self) -> None:
        """There may be one that ends before all others."""
        self._due_at = 0.0

    def clean(self, leaving: str = "") -> None:
        """Remove consumers that hold nothing: *leaving*, and those that were silent for long; and old dead letters."""
        watched = {stream for stream, _ in self._watched.streams}
        dead = [self._router.keys.dead(queue) for queue in self._watched.traits]
        calls = [self._clean_call(watched, dead, leaving)]
        if left := self._watched.used - watched:
            calls.append(self._clean_call(left, [], self._router.consumer_name))
        self._server.run_each(calls)
        self._watched.used = watched

    def _clean_call(self, streams: Collection[str], dead: Sequence[str], leaving: str) -> Call:
        args: list[Argument] = [
            len(streams),
            leaving,
            round(_SILENT_SECONDS * 1000),
            round(self._dead_letter_seconds * 1000),
        ]
        return Call(CLEAN, [*streams, *dead], args)

    def requeue_orphans(self, held: Container[str]) -> None:
        """Put back what a lost answer left in our name: what is pending and not *held*. It counts no delivery."""
        name = self._router.consumer_name
        streams = [stream for stream, _ in self._watched.streams]
        commands = [("XPENDING", stream, GROUP, "-", "+", 2 * BATCH, name) for stream in streams]
        found: list[Any] = self._server.pipeline(commands)
        strays = [
            (stream, entry[0].decode())
            for stream, pending in zip(streams, found, strict=True)
            if not isinstance(pending, ResponseError)
            for entry in pending
            if make_tag(stream, entry[0].decode()) not in held
        ]
        if strays:
            self._server.run(
                Call(REQUEUE, [stream for stream, _ in strays], [name, 0, *[entry for _, entry in strays]])
            )

    @property
    def patience(self) -> float:
        """Seconds until something is to be done."""
        return max(min(self._sweep_at, self._due_at) - monotonic(), 0.0)
