"""Fanout: each queue reads on in the exchange's capped stream from where it was."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .keys import Keys, make_tag
from .routing import read_table
from .scripts import LISTEN, Call
from .server import Server

logger = logging.getLogger(__name__)

_BATCH = 100


@dataclass(slots=True)
class _Place:
    """The last entry that *queue* has read of *exchange*; *ordinal* counts all that there ever were."""

    queue: str
    exchange: str
    entry: str
    ordinal: int


class Listener:
    """Knows the places of one consumer's queues."""

    def __init__(self, server: Server, keys: Keys) -> None:
        self._server = server
        self._keys = keys
        self.places: list[_Place] = []

    def attach(self, queues: Iterable[str]) -> None:
        """Listen for *queues*; those that did already keep their places."""
        known = {(place.queue, place.exchange): place for place in self.places}
        names = list(queues)
        answers = self._server.execute_all([("HGETALL", self._keys.listens(queue)) for queue in names])
        self.places = []
        for queue, fields in zip(names, answers, strict=True):
            for exchange, [text] in read_table(fields).items():
                entry, _, ordinal = text.partition("/")
                self.places.append(known.get((queue, exchange)) or _Place(queue, exchange, entry, int(ordinal)))

    def calls(self, credit: int) -> Iterator[Call]:
        """A script for each place; they also keep the places on the server, for whoever comes after us."""
        for place in self.places:
            keys = [self._keys.fanout(place.exchange), self._keys.listens(place.queue)]
            count = max(min(credit, _BATCH), 1)
            yield Call(LISTEN, keys, [place.exchange, place.entry, place.ordinal, count])

    def read(self, answers: Sequence[Any]) -> Iterator[tuple[str, str, bytes, int, int]]:
        """Queue, tag, payload, earlier deliveries (none) and number of missed ones, of all that scripts answered."""
        for place, answer in zip(self.places, answers, strict=True):
            missed = int(answer[0])
            if missed:
                logger.warning("queue %s fell behind: %d messages of %s are gone", place.queue, missed, place.exchange)
            stream = self._keys.fanout(place.exchange)
            for at in range(2, len(answer), 2):
                place.entry = answer[at].decode()
                yield place.queue, make_tag(stream, place.entry), answer[at + 1], 0, missed if at == 2 else 0
            place.ordinal = int(answer[1])

    @property
    def positions(self) -> dict[str, str]:
        """Stream key -> the earliest id that one of the queues has read last."""
        found: dict[str, str] = {}
        for place in self.places:
            stream = self._keys.fanout(place.exchange)
            if stream not in found or _order(place.entry) < _order(found[stream]):
                found[stream] = place.entry
        return found


def _order(entry: str) -> tuple[int, int]:
    ms, _, number = entry.partition("-")
    return int(ms), int(number or 0)
