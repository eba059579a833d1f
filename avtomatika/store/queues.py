"""Queues and dead letters for operators: inspect, pause, purge, requeue, drop."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import merge
from itertools import chain, islice
from typing import Any, TypeVar

import orjson

from avtomatika.core.job import Json
from avtomatika.errors import ConflictError, NoRouteError as NoQueue, NotFoundError
from avtomatika.transport import (
    Inspector,
    QueueStats,
    Reading,
    RedisClient,
    Router,
    StoredMessage,
    Topology,
    together,
)

from .scripts import server_errors
from .server_part import ServerPart

T = TypeVar("T")

#: Credentials in messages, which are never shown.
_SECRETS = frozenset({"ticket", "origin_sig", "sig"})


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message of a queue, or a dead letter. *body* is without secrets, and None if it is not a JSON object. The id of
    the letter ends with ``@<shard>`` unless it is in the first shard."""

    letter: StoredMessage
    body: Mapping[str, Json] | None

    @property
    def job_id(self) -> str | None:
        job_id = (self.body or {}).get("job_id")
        return job_id if isinstance(job_id, str) else None

    @property
    def kind(self) -> str | None:
        kind = (self.body or {}).get("kind")
        return kind if isinstance(kind, str) else None


class Queues(ServerPart):
    """The queues of one server; each is in all shards. Thread-safe; every method raises UnavailableError if the server
    is unreachable."""

    def __init__(self, server: RedisClient, router: Router) -> None:
        super().__init__(server)
        self._inspectors = shard_inspectors(server, router)
        self._topology = Topology(server, router)

    def all(self) -> list[QueueStats]:
        """Return the figures of every queue, sorted by name."""
        return self.read_together(read_queues(self._inspectors))[0]

    def peek(self, name: str, *, limit: int) -> list[QueuedMessage]:
        """Return the first messages that are ready in queue *name*, without removing them. Raises NotFoundError."""
        self._check(name)
        return self.read_together(self._read_first(name, limit))[0]

    def purge(self, name: str) -> int:
        """Remove the messages that are ready in queue *name* and return their number. Raises NotFoundError."""
        self._check(name)
        return _asked(lambda: self._topology.purge(name))

    def find(self, name: str) -> QueueStats:
        """Return the figures of queue *name*. Raises NotFoundError."""
        self._check(name)
        return self.read_together(read_queues(self._inspectors, [name]))[0][0]

    def look(
        self, name: str, *, messages: int, letters: int
    ) -> tuple[QueueStats, list[QueuedMessage], list[QueuedMessage]]:
        """Return the figures of queue *name*, its first messages and newest dead letters. Raises NotFoundError."""
        found: list[Any] = self.read_together(
            read_queues(self._inspectors, [name]), self._read_first(name, messages), self._read_dead(name, letters)
        )
        if not found[0]:
            raise NotFoundError("queue", name, known=_asked(self._topology.queues))
        [stats], first, dead = found
        return stats, first, dead

    def set_paused(self, name: str, by: str = "") -> QueueStats:
        """Let no consumer take from queue *name*, in the name of *by*; resume it if that is empty.

        Raises NotFoundError, and ConflictError for a queue of broadcasts.
        """
        if _asked(lambda: self._topology.set_paused(name, by)) < 0:
            raise ConflictError(f"the queue {name!r} receives broadcasts: it cannot be paused")
        return self.find(name)

    def dead(self, *, limit: int, queue: str | None = None) -> list[QueuedMessage]:
        """Return the dead letters of *queue*, or of all queues, newest first."""
        return self.read_together(self._read_dead(queue, limit))[0]

    def dead_letter(self, letter_id: str) -> QueuedMessage:
        """Raises NotFoundError."""
        inspector, own_id = self._locate(letter_id)
        found = _asked(lambda: inspector.find_dead_letter(own_id))
        if found is None:
            raise NotFoundError("dead letter", letter_id)
        return _read(replace(found, id=letter_id))

    def requeue(self, letter_id: str) -> QueuedMessage:
        """Requeue a dead letter with a delivery count of zero.

        Raises NotFoundError, and ConflictError if its queue does not exist any more.
        """
        found = self.dead_letter(letter_id)
        inspector, own_id = self._locate(letter_id)
        try:
            done = _asked(lambda: inspector.requeue(replace(found.letter, id=own_id)))
        except NoQueue:
            raise ConflictError(
                f"the queue {found.letter.queue!r} does not exist any more; the dead letter is kept"
            ) from None
        if not done:
            raise NotFoundError("dead letter", letter_id)
        return found

    def drop(self, letter_id: str) -> None:
        """Delete a dead letter. Raises NotFoundError."""
        inspector, own_id = self._locate(letter_id)
        if not _asked(lambda: inspector.delete(own_id)):
            raise NotFoundError("dead letter", letter_id)

    def _read_first(self, name: str, limit: int) -> Reading[list[QueuedMessage]]:
        found = yield from together(*(each.read_first(name, limit=limit) for each in self._inspectors))
        return self._merged(found, limit, lambda letter: (-letter.priority, letter.at_ms))

    def _read_dead(self, queue: str | None, limit: int) -> Reading[list[QueuedMessage]]:
        found = yield from together(*(each.read_dead_letters(limit=limit, queue=queue) for each in self._inspectors))
        return self._merged(found, limit, lambda letter: -letter.at_ms)

    def _merged(
        self, found: Sequence[list[StoredMessage]], limit: int, order: Callable[[StoredMessage], Any]
    ) -> list[QueuedMessage]:
        """Return the first of the messages of all shards, which are in *order*, with their shard in their ids."""
        shards = zip(self._keys.shards, found, strict=True)
        named = [[replace(each, id=f"{each.id}@{keys.shard}") for each in letters] for keys, letters in shards]
        return [_read(letter) for letter in islice(merge(found[0], *named[1:], key=order), limit)]

    def _locate(self, letter_id: str) -> tuple[Inspector, str]:
        """Return the inspector of the shard of a dead letter, and its id there."""
        own_id, _, shard = letter_id.rpartition("@")
        for keys, inspector in zip(self._keys.shards[1:], self._inspectors[1:], strict=True):
            if keys.shard == shard:
                return inspector, own_id
        return self._inspectors[0], letter_id

    def _check(self, name: str) -> None:
        known = _asked(self._topology.queues)
        if name not in known:
            raise NotFoundError("queue", name, known=known)


def shard_inspectors(server: RedisClient, router: Router) -> list[Inspector]:
    """Return an inspector of the queues of each shard."""
    return [Inspector(server, router.of(prefix)) for prefix in server.prefixes]


def read_queues(inspectors: Sequence[Inspector], names: Iterable[str] | None = None) -> Reading[list[QueueStats]]:
    """Read the figures of all queues, or of those in *names* that exist, over all shards, sorted by name; two round
    trips. Processes consume from several shards: *consumers* are those of the shard with the most."""
    found: dict[str, QueueStats] = {}
    names = None if names is None else list(names)
    for each in chain(*(yield from together(*(inspector.read_stats(names) for inspector in inspectors)))):
        found[each.name] = _sum(found[each.name], each) if each.name in found else each
    return [found[name] for name in sorted(found)]


def _sum(one: QueueStats, other: QueueStats) -> QueueStats:
    sums = {name: getattr(one, name) + getattr(other, name) for name in ("waiting", "held", "delayed", "dead")}
    largest = {name: max(getattr(one, name), getattr(other, name)) for name in ("consumers", "waited_ms")}
    return replace(other if one.paused_ms is None else one, **sums, **largest)


def _asked(ask: Callable[[], T]) -> T:
    with server_errors():
        return ask()


def _read(letter: StoredMessage) -> QueuedMessage:
    body = _object(letter.body)
    return QueuedMessage(letter, None if body is None else _without_secrets(body))


def _object(text: bytes | str) -> dict[str, Json] | None:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _without_secrets(body: Mapping[str, Json]) -> dict[str, Json]:
    """Return *body* without secrets, also in the ``body`` of a timer: the text of the message that it will send."""
    shown = {name: value for name, value in body.items() if name not in _SECRETS}
    if isinstance(inner := shown.get("body"), str):
        message = _object(inner)
        shown["body"] = None if message is None else _without_secrets(message)
    return shown
