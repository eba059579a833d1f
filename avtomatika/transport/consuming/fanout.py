"""Fanout: each queue reads the exchange's capped stream from its own position."""

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from avtomatika.transport.connection.redis_client import RedisClient
from avtomatika.transport.keys import Keys, earliest, make_tag
from avtomatika.transport.publishing.routing import read_table
from avtomatika.transport.scripts import READ_FANOUT, Call

logger = logging.getLogger(__name__)

_BATCH = 100


@dataclass(slots=True)
class _Position:
    """The last entry of *exchange* that *queue* has read; *ordinal* is its number since the stream was created."""

    queue: str
    exchange: str
    entry: str
    ordinal: int
    #: Older messages are skipped; "" for no limit.
    ttl_ms: str


class FanoutReader:
    """Tracks the positions of one consumer's queues."""

    def __init__(self, server: RedisClient, keys: Keys) -> None:
        self._server = server
        self._keys = keys
        self._positions: list[_Position] = []

    def attach(self, queues: Iterable[str]) -> None:
        """Read fanouts for *queues*; queues that are already attached keep their positions."""
        known = {(position.queue, position.exchange): position for position in self._positions}
        names = list(queues)
        _positions = self._server.execute_all([("HGETALL", self._keys.listens(queue)) for queue in names])
        limits = self._server.execute_all([("HGET", self._keys.limits, f"{queue}\tttl") for queue in names])
        self._positions = []
        for queue, fields, ttl in zip(names, _positions, limits, strict=True):
            ttl_ms = ttl.decode() if ttl else ""
            for exchange, [text] in read_table(fields).items():
                entry, _, ordinal = text.partition("/")
                self._positions.append(
                    known.get((queue, exchange)) or _Position(queue, exchange, entry, int(ordinal), ttl_ms)
                )

    @property
    def streams(self) -> set[str]:
        return {self._keys.fanout(position.exchange) for position in self._positions}

    def has_any(self, changed: Collection[str] | None) -> bool:
        """Return whether there is a stream to read among *changed*; None means all."""
        return bool(self._positions) and (changed is None or not self.streams.isdisjoint(changed))

    def calls(self, credit: int) -> Iterator[Call]:
        """Yield a script call per position; each also stores the position on the server."""
        for position in self._positions:
            keys = [self._keys.fanout(position.exchange), self._keys.listens(position.queue)]
            count = max(min(credit, _BATCH), 1)
            yield Call(READ_FANOUT, keys, [position.exchange, position.entry, position.ordinal, count, position.ttl_ms])

    def read(self, answers: Sequence[Any]) -> Iterator[tuple[str, str, bytes, int, int]]:
        """Yield queue, tag, payload, earlier deliveries (0) and number of missed messages for each entry in the
        replies."""
        for position, answer in zip(self._positions, answers, strict=True):
            missed = int(answer[0])
            if missed:
                logger.warning(
                    "queue %s fell behind: missed %d messages of exchange %s", position.queue, missed, position.exchange
                )
            stream = self._keys.fanout(position.exchange)
            position.ordinal, position.entry = int(answer[1]), answer[2].decode()
            for at in range(3, len(answer), 2):
                yield position.queue, make_tag(stream, answer[at].decode()), answer[at + 1], 0, missed if at == 3 else 0

    @property
    def positions(self) -> dict[str, str]:
        """The earliest position of any queue in each stream."""
        return earliest([{}, *({self._keys.fanout(position.exchange): position.entry} for position in self._positions)])
