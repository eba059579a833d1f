"""Queues and dead letters for operators: inspect, pause, purge, requeue, drop."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from avtomatika.core.job import Json
from avtomatika.errors import ConflictError, NoRouteError as NoQueue, NotFoundError
from avtomatika.transport import Inspector, QueueStats, RedisClient, Router, StoredMessage, Topology

from .scripts import server_errors
from .server_part import ServerPart

T = TypeVar("T")

#: Credentials in messages, which are never shown.
_SECRETS = frozenset({"ticket", "origin_sig", "sig"})


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message of a queue, or a dead letter. *body* is without secrets, and None if it is not a JSON object."""

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
    """The queues of one server. Thread-safe; every method raises UnavailableError if the server is unreachable."""

    def __init__(self, server: RedisClient, router: Router) -> None:
        super().__init__(server)
        self._inspector = Inspector(server, router)
        self._topology = Topology(server, router)

    def all(self) -> list[QueueStats]:
        """Return the figures of every queue, sorted by name."""
        return _asked(self._inspector.stats)

    def peek(self, name: str, *, limit: int) -> list[QueuedMessage]:
        """Return the first messages that are ready in queue *name*, without removing them. Raises NotFoundError."""
        self._check(name)
        return [_read(letter) for letter in _asked(lambda: self._inspector.peek(name, limit=limit))]

    def purge(self, name: str) -> int:
        """Remove the messages that are ready in queue *name* and return their number. Raises NotFoundError."""
        self._check(name)
        return _asked(lambda: self._topology.purge(name))

    def find(self, name: str) -> QueueStats:
        """Return the figures of queue *name*. Raises NotFoundError."""
        self._check(name)
        return _asked(lambda: self._inspector.stats([name]))[0]

    def look(
        self, name: str, *, messages: int, letters: int
    ) -> tuple[QueueStats, list[QueuedMessage], list[QueuedMessage]]:
        """Return the figures of queue *name*, its first messages and newest dead letters. Raises NotFoundError."""
        found: list[Any] = self.read_together(
            self._inspector.read_stats([name]),
            self._inspector.read_first(name, limit=messages),
            self._inspector.read_dead_letters(limit=letters, queue=name),
        )
        if not found[0]:
            raise NotFoundError("queue", name, known=_asked(self._topology.queues))
        [stats], first, dead = found
        return stats, [_read(each) for each in first], [_read(each) for each in dead]

    def set_paused(self, name: str, by: str = "") -> QueueStats:
        """Let no consumer take from queue *name*, in the name of *by*; resume it if that is empty.

        Raises NotFoundError, and ConflictError for a queue of broadcasts.
        """
        if _asked(lambda: self._topology.set_paused(name, by)) < 0:
            raise ConflictError(f"the queue {name!r} receives broadcasts: it cannot be paused")
        return self.find(name)

    def dead(self, *, limit: int, queue: str | None = None) -> list[QueuedMessage]:
        """Return the dead letters of *queue*, or of all queues, newest first."""
        return [_read(letter) for letter in _asked(lambda: self._inspector.dead_letters(limit=limit, queue=queue))]

    def dead_letter(self, letter_id: str) -> QueuedMessage:
        """Raises NotFoundError."""
        found = _asked(lambda: self._inspector.find_dead_letter(letter_id))
        if found is None:
            raise NotFoundError("dead letter", letter_id)
        return _read(found)

    def requeue(self, letter_id: str) -> QueuedMessage:
        """Requeue a dead letter with a delivery count of zero.

        Raises NotFoundError, and ConflictError if its queue does not exist any more.
        """
        found = self.dead_letter(letter_id)
        try:
            done = _asked(lambda: self._inspector.requeue(found.letter))
        except NoQueue:
            raise ConflictError(
                f"the queue {found.letter.queue!r} does not exist any more; the dead letter is kept"
            ) from None
        if not done:
            raise NotFoundError("dead letter", letter_id)
        return found

    def drop(self, letter_id: str) -> None:
        """Delete a dead letter. Raises NotFoundError."""
        if not _asked(lambda: self._inspector.delete(letter_id)):
            raise NotFoundError("dead letter", letter_id)

    def _check(self, name: str) -> None:
        known = _asked(self._topology.queues)
        if name not in known:
            raise NotFoundError("queue", name, known=known)


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
