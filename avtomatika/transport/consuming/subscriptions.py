"""The queues a reader takes from, and their streams: one per priority in use."""

import logging
from collections.abc import Callable, Collection, Iterable, Sequence

from redis.exceptions import ResponseError

from avtomatika.transport.connection.redis_client import RedisClient
from avtomatika.transport.errors import is_wrong_type
from avtomatika.transport.keys import Keys

logger = logging.getLogger(__name__)


class Subscriptions:
    """Queues in reading order, with the traits that the server has reported."""

    def __init__(self, server: RedisClient, keys: Keys, declare: Callable[[Collection[str]], None]) -> None:
        self._server = server
        self._declare = declare
        self._keys = keys
        #: Queue -> its known traits.
        self.traits: dict[str, str] = {}
        #: (stream, its queue), higher priorities first, without paused queues and keys of an unexpected type.
        self.streams: list[tuple[str, str]] = []
        #: Streams read since the last clean-up: each may list this consumer.
        self.read_streams: set[str] = set()
        self._wrong_type: set[str] = set()

    def replace(self, queues: Iterable[str]) -> None:
        """Read *queues* and no others."""
        self.traits = dict.fromkeys(queues, "")
        self._rebuild_streams()

    def update_traits(self, traits: Sequence[str]) -> None:
        """Store the traits that the server reports; redeclare lost queues with their limits and bindings."""
        found = dict(zip(self.traits, traits, strict=True))
        lost = [queue for queue, known in found.items() if not known]
        if lost:
            self._declare(lost)
        self.traits = {queue: known or "0" for queue, known in found.items()}
        self._rebuild_streams()

    def rotate(self) -> None:
        """Let the queues take turns in being read first."""
        if len(self.traits) > 1:
            first = next(iter(self.traits))
            self.traits[first] = self.traits.pop(first)
            self._rebuild_streams()

    def with_trait(self, trait: str) -> list[str]:
        """Return queues with *trait*. Any thread may call it."""
        return [queue for queue, traits in self.traits.copy().items() if trait in traits]

    def delays(self) -> tuple[list[str], list[str]]:
        """Return for all queues with delays the keys for moving them, and per queue its priorities in key order
        as one string."""
        keys: list[str] = []
        levels: list[str] = []
        for queue in self.with_trait("d"):
            streams = {level: self._keys.stream(queue, level) for level in self.traits[queue] if level.isdigit()}
            levels.append("".join(level for level, stream in streams.items() if stream not in self._wrong_type))
            keys += (self._keys.delays(queue), self._keys.delayed(queue))
            keys += (streams[level] for level in levels[-1])
        return keys, levels

    @property
    def has_wrong_type(self) -> bool:
        """Return whether a key of a queue holds an unexpected type."""
        return bool(self._wrong_type)

    def exclude_failing(self, error: BaseException) -> bool:
        """Exclude the queues whose keys hold an unexpected type; False if *error* has another cause."""
        if not (isinstance(error, ResponseError) and is_wrong_type(error)):
            return False
        known = self._wrong_type
        self.check_types()
        return self._wrong_type != known

    def check_types(self) -> None:
        """Check the types of all keys: exclude unexpected ones, include repaired ones."""
        known, self._wrong_type = self._wrong_type, set()
        self._rebuild_streams()
        keys = [(stream, queue, b"stream") for stream, queue in self.streams]
        for queue in self.with_trait("w"):
            keys += [(key, queue, b"zset") for key in self._keys.turns(queue)]
            keys.append((self._keys.held(queue), queue, b"hash"))
        types = self._server.execute_all([("TYPE", key) for key, _, _ in keys])
        for (key, queue, expected), kind in zip(keys, types, strict=True):
            if kind not in (expected, b"none"):
                self._wrong_type.add(key)
                if expected != b"stream":
                    self._wrong_type.update(stream for stream, each in self.streams if each == queue)
                if key not in known:
                    logger.error("queue %s is not consumed: its key %r holds a %s", queue, key, kind.decode())
        self._rebuild_streams()

    def _rebuild_streams(self) -> None:
        self.streams = [
            (self._keys.stream(queue, level), queue)
            for level in "9876543210"
            for queue, traits in self.traits.items()
            if level in traits and "p" not in traits and self._keys.stream(queue, level) not in self._wrong_type
        ]
        self.read_streams.update(stream for stream, _ in self.streams)
