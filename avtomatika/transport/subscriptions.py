"""The queues that a reader takes from, and the streams that they have: one for each level in use."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence

from redis.exceptions import ResponseError

from .errors import is_wrong_type
from .keys import Keys
from .redis_client import RedisClient

logger = logging.getLogger(__name__)


class Subscriptions:
    """Queues in the order in which they are read, as far as the server has told of them."""

    def __init__(self, server: RedisClient, keys: Keys, declare: Callable[[Collection[str]], None]) -> None:
        self._server = server
        self._declare = declare
        self._keys = keys
        #: Queue -> its traits as known.
        self.traits: dict[str, str] = {}
        #: (stream, its queue), higher levels first. Keys that hold something foreign are left out.
        self.streams: list[tuple[str, str]] = []
        #: Every stream that was read since the last clean-up: each may know the consumer by name.
        self.used: set[str] = set()
        self._foreign: set[str] = set()

    def replace(self, queues: Iterable[str]) -> None:
        """Watch *queues* and no others."""
        self.traits = dict.fromkeys(queues, "")
        self._lay_out()

    def learn(self, traits: Sequence[str]) -> None:
        """What the server says of each queue; one that it has lost is declared again, with its limits and bindings."""
        found = dict(zip(self.traits, traits, strict=True))
        lost = [queue for queue, known in found.items() if not known]
        if lost:
            self._declare(lost)
        self.traits = {queue: known or "0" for queue, known in found.items()}
        self._lay_out()

    def rotate(self) -> None:
        """Queues that come first on a level take turns."""
        if len(self.traits) > 1:
            first = next(iter(self.traits))
            self.traits[first] = self.traits.pop(first)
            self._lay_out()

    def having(self, trait: str) -> list[str]:
        """Queues with *trait*. Any thread."""
        return [queue for queue, traits in self.traits.copy().items() if trait in traits]

    def delays(self) -> tuple[list[str], list[str]]:
        """Of each queue with delays: the keys to move them by; and its levels, in the same order, as one string."""
        keys: list[str] = []
        levels: list[str] = []
        for queue in self.having("d"):
            streams = {level: self._keys.stream(queue, level) for level in self.traits[queue] if level.isdigit()}
            levels.append("".join(level for level, stream in streams.items() if stream not in self._foreign))
            keys += (self._keys.delays(queue), self._keys.delayed(queue))
            keys += (streams[level] for level in levels[-1])
        return keys, levels

    @property
    def has_foreign(self) -> bool:
        """Whether a key of ours holds something else than a stream."""
        return bool(self._foreign)

    def can_go_on_after(self, error: BaseException) -> bool:
        """Whether *error* came from a queue whose key holds something foreign: that queue is left out from now on."""
        if not (isinstance(error, ResponseError) and is_wrong_type(error)):
            return False
        known = self._foreign
        self.find_foreign()
        return self._foreign != known

    def find_foreign(self) -> None:
        """Look at all keys: what is foreign is left out, what has been put right is read again."""
        known, self._foreign = self._foreign, set()
        self._lay_out()
        types = self._server.execute_all([("TYPE", stream) for stream, _ in self.streams])
        for (stream, queue), kind in zip(self.streams, types, strict=True):
            if kind not in (b"stream", b"none"):
                self._foreign.add(stream)
                if stream not in known:
                    logger.error("queue %s is left out: its key %r holds a %s", queue, stream, kind.decode())
        self._lay_out()

    def _lay_out(self) -> None:
        self.streams = [
            (self._keys.stream(queue, level), queue)
            for level in "9876543210"
            for queue, traits in self.traits.items()
            if level in traits and self._keys.stream(queue, level) not in self._foreign
        ]
        self.used.update(stream for stream, _ in self.streams)
