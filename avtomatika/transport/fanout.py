"""Fanout: each queue reads on in the exchange's capped stream from where it was."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .keys import Keys, earliest, make_tag
from .redis_client import RedisClient
from .routing import read_table
from .scripts import LISTEN, Call

logger = logging.getLogger(__name__)

_BATCH = 100


@dataclass(slots=True)
class _Place:
    """The last entry that *queue* has read of *exchange*; *ordinal* counts all that there ever were."""

    queue: str
    exchange: str
    entry: str
    ordinal: int
    #: Older messages are passed over; "" where none is too old.
    ttl_ms: str


class FanoutReader:
    """Knows the places of one consumer's queues."""

    def __init__(self, server: RedisClient, keys: Keys) -> None:
        self._server = server
        self._keys = keys
        self.places: list[_Place] = []

    def attach(self, queues: Iterable[str]) -> None:
        """Listen for *queues*; those that did already keep their places."""
        known = {(place.queue, place.exchange): place for place in self.places}
        names = list(queues)
        places = self._server.execute_all([("HGETALL", self._keys.listens(queue)) for queue in names])
        limits = self._server.execute_all([("HGET", self._keys.limits(), f"{queue}\tttl") for queue in names])
        self.places = []
        for queue, fields, ttl in zip(names, places, limits, strict=True):
            ttl_ms = ttl.decode() if ttl else ""
            for exchange, [text] in read_table(fields).items():
                entry, _, ordinal = text.partition("/")
                self.places.append(known.get((queue, exchange)) or _Place(queue, exchange, entry, int(ordinal), ttl_ms))

    @property
    def streams(self) -> set[str]:
        return {self._keys.fanout(place.exchange) for place in self.places}

    def has_any(self, news: Collection[str] | None) -> bool:
        """Whether one of the places is to be read: where *news* names its stream, or is None."""
        return bool(self.places) and (news is None or not self.streams.isdisjoint(news))

    def calls(self, credit: int) -> Iterator[Call]:
        """A script for each place; they also keep the places on the server, for whoever comes after us."""
        for place in self.places:
            keys = [self._keys.fanout(place.exchange), self._keys.listens(place.queue)]
            count = max(min(credit, _BATCH), 1)
            yield Call(LISTEN, keys, [place.exchange, place.entry, place.ordinal, count, place.ttl_ms])

    def read(self, answers: Sequence[Any]) -> Iterator[tuple[str, str, bytes, int, int]]:
        """Queue, tag, payload, earlier deliveries (none) and number of missed ones, of all that scripts answered."""
        for place, answer in zip(self.places, answers, strict=True):
            missed = int(answer[0])
            if missed:
                logger.warning("queue %s fell behind: %d messages of %s are gone", place.queue, missed, place.exchange)
            stream = self._keys.fanout(place.exchange)
            place.ordinal, place.entry = int(answer[1]), answer[2].decode()
            for at in range(3, len(answer), 2):
                yield place.queue, make_tag(stream, answer[at].decode()), answer[at + 1], 0, missed if at == 3 else 0

    @property
    def positions(self) -> dict[str, str]:
        """Stream key -> the earliest id that one of the queues has read last."""
        return earliest([{}, *({self._keys.fanout(place.exchange): place.entry} for place in self.places)])
