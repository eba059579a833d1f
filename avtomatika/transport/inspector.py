"""Inspecting queues and dead letters without taking messages or touching leases."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from redis.exceptions import ResponseError

from .connection.redis_client import Reading, RedisClient, as_dict, none_refused
from .declaring.topology import LEVELS
from .envelope import MalformedMessageError, decode
from .keys import GROUP, parse_tag
from .publishing.routing import Router, level_of
from .scripts import LOCATE, PLACE, QUEUE_STATS, REQUEUE_DEAD_LETTER, Call

#: Replies of scripts that have found a message.
_FOUND = (b"WAITS", b"HELD")
#: Queues counted by one script, so that it does not block the server for long.
_PAGE = 100
#: Maximum number of leased messages of a stream that are distinguished from waiting ones.
_PENDING = 1000


@dataclass(frozen=True, slots=True)
class QueueStats:
    """Numbers of messages: *waiting*, *held* (unacknowledged), *delayed* and *dead*. *consumers* have taken from
    the queue recently. The first message has waited *waited_ms*. *paused_by* paused the queue at *paused_ms*."""

    name: str
    waiting: int = 0
    held: int = 0
    delayed: int = 0
    dead: int = 0
    consumers: int = 0
    waited_ms: int = 0
    paused_ms: int | None = None
    paused_by: str | None = None


@dataclass(frozen=True, slots=True)
class Queued:
    """Waits behind *before* other messages."""

    before: int


@dataclass(frozen=True, slots=True)
class Unacked:
    """A consumer holds it; *silent_ms* is the time since its lease was renewed."""

    consumer: str
    silent_ms: int
    deliveries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """A message of *queue*, or a dead letter with its *reason* and time (*at_ms*).

    *id* is ``<queue>:<entry>``. *body* is empty if the message cannot be decoded.
    """

    id: str
    queue: str
    priority: int = 0
    routing_key: str = ""
    body: bytes = b""
    reason: str | None = None
    deliveries: int = 0
    error: str | None = None
    at_ms: int = 0


class Inspector:
    """Threads may share it."""

    def __init__(self, server: RedisClient, router: Router) -> None:
        self._server = server
        self._router = router
        self._keys = router.keys

    def stats(self, names: Iterable[str] | None = None) -> list[QueueStats]:
        """Return the stats of all queues, or of those in *names* that exist, sorted by name; two round trips."""
        return self._server.read_together(self.read_stats(names))[0]

    def read_stats(
        self, names: Iterable[str] | None = None, traits: Mapping[str, str] | None = None
    ) -> Reading[list[QueueStats]]:
        """The reading of :meth:`stats`; in one round trip if the *traits* of the queues are known."""
        table = (yield from self.read_traits()) if traits is None else traits
        wanted = sorted(table if names is None else set(names) & table.keys())
        pages = [wanted[first : first + _PAGE] for first in range(0, len(wanted), _PAGE)]
        paused = [name for name in wanted if "p" in table[name]]
        reads = [("HGET", self._keys.limits, f"{name}\tpaused") for name in paused]
        calls = [self._stats_call(page, table) for page in pages]
        answers = none_refused((yield [*reads, *calls]))
        pauses = dict(zip(paused, map(_pause, answers), strict=False))
        rows = chain(*answers[len(paused) :])
        return [QueueStats(name, *row, *pauses.get(name, ())) for name, row in zip(wanted, rows, strict=True)]

    def _stats_call(self, names: Iterable[str], table: Mapping[str, str]) -> Call:
        streams = {name: [self._keys.stream(name, level) for level in levels_of(table[name])] for name in names}
        keys = [(*streams[name], self._keys.delays(name), self._keys.dead(name)) for name in streams]
        return Call(QUEUE_STATS, list(chain(*keys)), [len(each) for each in streams.values()])

    def locate(self, queue: str, group: str, *, most: int = 1000) -> Queued | Unacked | None:
        """Find the message of *group* in *queue*; None if it is absent or not among the first *most* messages."""
        location = self.read_location(queue, group, self._traits(), most=most)
        return self._server.read_together(location)[0]

    def read_location(
        self, queue: str, group: str, traits: Mapping[str, str], *, most: int = 1000
    ) -> Reading[Queued | Unacked | None]:
        """The reading of :meth:`locate`, with the *traits* of the queues, in one round trip."""
        streams = [self._keys.stream(queue, level) for level in levels_of(traits.get(queue, ""))]
        if not streams:
            return None
        holder = group.rpartition(" ")[2]
        place = Call(PLACE, [self._keys.queues], [queue, holder, most])
        calls = [Call(LOCATE, streams, [holder, most]), *([place] if "w" in traits[queue] else ())]
        found = none_refused((yield calls))
        word, *facts = next((each for each in found if each[0] in _FOUND), found[0])
        match word:
            case b"WAITS":
                return Queued(int(facts[0]))
            case b"HELD":
                return Unacked(facts[0].decode(), int(facts[1]), int(facts[2]))
        return None

    def peek(self, queue: str, *, limit: int) -> list[StoredMessage]:
        """Return the first waiting messages of *queue*: in delivery order, or by priority if it is taken in turns."""
        return self._server.read_together(self.read_first(queue, limit=limit))[0]

    def read_first(self, queue: str, *, limit: int) -> Reading[list[StoredMessage]]:
        """The reading of :meth:`peek`, in two round trips, or three."""
        streams = [self._keys.stream(queue, level) for level in reversed(LEVELS)]
        traits, *groups = yield [("HGET", self._keys.queues, queue), *[("XINFO", "GROUPS", each) for each in streams]]
        known = [pair for pair in zip(streams, groups, strict=True) if not isinstance(pair[1], ResponseError)]
        if b"w" not in (none_refused([traits])[0] or b""):
            reads = [("XRANGE", stream, _after(each), "+", "COUNT", limit) for stream, each in known]
            return [_letter(queue, *entry) for entry in chain(*none_refused((yield reads)))][:limit]
        taken = [stream for stream, each in known if each]
        held = none_refused((yield [("XPENDING", stream, GROUP, "-", "+", _PENDING) for stream in taken]))
        leased = {(stream, row[0]) for stream, rows in zip(taken, held, strict=True) for row in rows}
        count = limit + len(leased)
        pages = none_refused((yield [("XRANGE", stream, "-", "+", "COUNT", count) for stream, _ in known]))
        entries = [(stream, entry) for (stream, _), page in zip(known, pages, strict=True) for entry in page]
        return [_letter(queue, *entry) for stream, entry in entries if (stream, entry[0]) not in leased][:limit]

    def messages(self, tags: Sequence[str]) -> list[bytes | None]:
        """Return the bodies of the messages with these delivery tags; None for absent and unreadable ones."""
        places = [parse_tag(tag) for tag in tags]
        return [_body(each) for each in self._server.pipeline([("XRANGE", key, id, id) for key, id in places])]

    def dead_letters(self, *, limit: int, queue: str | None = None) -> list[StoredMessage]:
        """Return dead letters of *queue*, or of all queues, newest first."""
        return self._server.read_together(self.read_dead_letters(limit=limit, queue=queue))[0]

    def read_dead_letters(self, *, limit: int, queue: str | None = None) -> Reading[list[StoredMessage]]:
        """The reading of :meth:`dead_letters`: one round trip for a *queue*, two for all."""
        queues = [] if queue is None else [queue]
        if queue is None:  # deleted queues have dead letters too
            asked = [("HKEYS", self._keys.queues), ("ZRANGE", self._keys.dead_queues, 0, -1)]
            queues = sorted({name.decode() for name in chain(*none_refused((yield asked)))})
        commands = [("XREVRANGE", self._keys.dead(name), "+", "-", "COUNT", limit) for name in queues]
        answers = none_refused((yield commands))
        letters = [_letter(name, *entry) for name, entries in zip(queues, answers, strict=True) for entry in entries]
        return sorted(letters, key=lambda letter: letter.at_ms, reverse=True)[:limit]

    def find_dead_letter(self, letter_id: str) -> StoredMessage | None:
        """Return the dead letter with this id, or None."""
        queue, _, entry = letter_id.rpartition(":")
        if not _is_entry(entry):
            return None
        found = self._server.execute(("XRANGE", self._keys.dead(queue), entry, entry))
        return _letter(queue, *found[0]) if found else None

    def requeue(self, letter: StoredMessage) -> bool:
        """Requeue a dead letter; False if it no longer exists. Raises NoRouteError if its queue does not exist."""
        entry = letter.id.rpartition(":")[2]
        level = level_of(letter.priority)
        keys = [self._keys.dead(letter.queue), self._keys.queues, self._router.stream(letter.queue, level)]
        return bool(self._server.run(Call(REQUEUE_DEAD_LETTER, keys, [entry, letter.queue, level])) == b"OK")

    def delete(self, letter_id: str) -> bool:
        """Delete a dead letter; False if it does not exist."""
        queue, _, entry = letter_id.rpartition(":")
        return _is_entry(entry) and bool(self._server.execute(("XDEL", self._keys.dead(queue), entry)))

    def _traits(self) -> dict[str, str]:
        return self._server.read_together(self.read_traits())[0]

    def read_traits(self) -> Reading[dict[str, str]]:
        """Read the traits of every queue."""
        [fields] = none_refused((yield [("HGETALL", self._keys.queues)]))
        return {name.decode(): traits.decode() for name, traits in as_dict(fields).items()}


def _pause(text: bytes | None) -> tuple[int, str]:
    at_ms, _, by = (text or b"0").decode().partition(" ")
    return int(at_ms), by


def _letter(queue: str, entry: bytes, fields: Sequence[bytes]) -> StoredMessage:
    table = {name.decode(errors="replace"): value for name, value in zip(fields[::2], fields[1::2], strict=True)}
    entry_id = entry.decode()
    priority, routing_key, body = _message(table.get("p", b""))
    at_ms = _number(table.get("at")) or int(entry_id.partition("-")[0])
    return StoredMessage(
        id=f"{queue}:{entry_id}",
        queue=queue,
        priority=priority,
        routing_key=routing_key,
        body=body,
        reason=table["reason"].decode(errors="replace") if "reason" in table else None,
        deliveries=_number(table.get("deliveries")) or _number(table.get("n")) or 0,
        error=table["error"].decode(errors="replace") if table.get("error") else None,
        at_ms=at_ms,
    )


#: More digits than any counter or timestamp has.
_LONGEST_NUMBER = 17


def _number(field: bytes | None) -> int | None:
    """Parse a number defensively: other programs may write entries."""
    return int(field) if field is not None and field.isdigit() and len(field) < _LONGEST_NUMBER else None


def _message(payload: bytes) -> tuple[int, str, bytes]:
    """Return priority, routing key and body."""
    try:
        message = decode(payload)
    except MalformedMessageError:
        return 0, "", b""
    properties = message["properties"]
    routing_key = properties["delivery_info"].get("routing_key", "")
    return level_of(properties.get("priority")), str(routing_key), message["body"]


def _body(entries: Any) -> bytes | None:
    if isinstance(entries, ResponseError) or not entries:
        return None
    [(entry, fields)] = entries
    return _letter("", entry, fields).body or None


def _after(groups: Any) -> str:
    """Return where the undelivered entries start."""
    known = [as_dict(group) for group in groups]
    return next((f"({each[b'last-delivered-id'].decode()}" for each in known if each[b"name"] == GROUP.encode()), "-")


def levels_of(traits: str) -> list[str]:
    """Return the priorities in use, highest first."""
    return sorted((trait for trait in traits if trait.isdigit()), reverse=True)


def _is_entry(text: str) -> bool:
    ms, _, number = text.partition("-")
    return ms.isascii() and ms.isdecimal() and number.isascii() and number.isdecimal()
