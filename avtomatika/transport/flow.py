"""Flow control: limits over all consumers, pauses of limits, and weights of fairness keys.

A message has the header ``x-flow``: ``{"key": "acme", "limits": ["client:acme", ["key:acct-7", {"concurrency": 3}]]}``.
In a queue with the argument ``x-fair``, messages of different keys are taken in turns, and a message starts only if
none of its limits is full. A limit is a name, or a name with values that apply unless the server has values for it; the
name ``skill:<queue>`` limits a whole queue. A message that is delivered holds a slot of each of its limits until it
leaves its queue: it is acknowledged, dead-lettered, requeued or dropped. The script ``lua/take.lua`` decides.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from secrets import token_hex
from typing import Any, Self

import orjson

from .connection.redis_client import Command, Reading, RedisClient, none_refused
from .inspector import Inspector, levels_of
from .keys import Keys
from .publishing.routing import Router
from .scripts import CHANGE_LIMIT, LOCATE, PLACE, READ_LIMITS, Argument, Call

#: Maximum number of fairness keys that :meth:`FlowControl.waiting` returns.
_KEYS = 50
#: Maximum number of messages among which :meth:`FlowControl.place` looks for one.
_WAITING, _NEW = 10_000, 1000
#: Maximum number of running messages that a :class:`Limit` names.
_HOLDERS = 20


@dataclass(frozen=True, slots=True)
class Limit:
    """At most *concurrency* messages run at once, and at most *rate* start in *per_ms*; None for no such limit.

    *running* messages are delivered, and *waiting* ones would be if it were not for this limit. *source* is what
    :meth:`FlowControl.set_limit` was told; it is empty for values of messages. *holders* are some that run.
    """

    name: str
    concurrency: int | None = None
    rate: int | None = None
    per_ms: int = 1000
    source: str = ""
    paused_by: str | None = None
    paused_at_ms: int | None = None
    running: int = 0
    waiting: int = 0
    holders: Sequence[str] = ()

    @classmethod
    def read(cls, rows: Sequence[Sequence[Any]], own: bytes = b"{}", holders: Sequence[str] = ()) -> Self:
        """Read the rows of ``read_limits.lua`` of one limit, a row a shard; *own* values (JSON) apply if the server has
        none."""
        found: dict[str, Any] = {}
        for _, values, _, _, others, _ in reversed(rows):
            found |= orjson.loads(values or others or own)
        if "total" in found:
            found |= {"concurrency": None, "rate": None, **found["total"]}
        running, waiting = (sum(row[column] for row in rows) for column in (2, 3))
        return cls(
            rows[0][0].decode(),
            found.get("concurrency"),
            found.get("rate"),
            found.get("per_ms", 1000),
            found.get("source", ""),
            found.get("paused"),
            found.get("paused_ms"),
            running,
            waiting,
            holders,
        )


@dataclass(frozen=True, slots=True)
class QueueWaiting:
    """Number of waiting messages: *total*, and by fairness key in the order of their turns, keys that are stopped by
    limits last; at most 50 keys. Messages that no consumer has looked at are part of *total* only."""

    total: int
    by_key: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a waiting message: *limit* stops it, or None; *ahead* messages are taken before it, of those that
    wait for the same limit if there is one. *holders* are the messages that hold slots of the limit."""

    limit: Limit | None
    ahead: int
    holders: Sequence[str] = ()


class FlowControl:
    """Threads may share it. Changes apply to all consumers immediately, in all shards; numbers are sums over them."""

    def __init__(self, server: RedisClient, router: Router) -> None:
        self._server = server
        self._keys = router.keys
        self._shards = {prefix: router.of(prefix).keys for prefix in server.prefixes}
        self._inspector = Inspector(server, router)

    def set_limit(
        self, name: str, *, concurrency: int | None, rate: int | None, per_ms: int = 1000, source: str = ""
    ) -> None:
        """Set a limit, in each shard; a pause is kept. Messages that run already count. Raises ValueError."""
        for value in (concurrency, rate, per_ms):
            if value is not None and (isinstance(value, bool) or value < 1):
                raise ValueError(f"limit {name!r}: {value!r} is not a number from 1 on")
        values: dict[str, Any] = {"concurrency": concurrency, "rate": rate, "per_ms": per_ms, "source": source}
        self._change(name, "set", orjson.dumps({key: each for key, each in values.items() if each is not None}))

    def remove_limit(self, name: str) -> bool:
        """Remove the values of a limit, but not its pause; False if it is not set."""
        return self._change(name, "remove")

    def pause(self, name: str, by: str) -> None:
        """Let no message start that has this limit, in the name of *by*; running ones continue."""
        self._change(name, "pause", by)

    def resume(self, name: str) -> bool:
        """End a pause; False if the limit is not paused."""
        return self._change(name, "resume")

    def _change(self, name: str, action: str, *values: Argument) -> bool:
        if not name or "\0" in name or "\1" in name:
            raise ValueError(f"{name!r} is not the name of a limit")
        mover = token_hex(16) if len(self._shards) > 1 else ""
        change = (name, action, *(values or [""]), mover, "", "")
        answers = self._server.run_each([change_call(keys, *change) for keys in self._shards.values()])
        return any(changed for changed, *_ in answers)

    def limits(self, names: Iterable[str] | None = None) -> list[Limit]:
        """Return the limits that are set or paused, by name; or those with these *names*, set or not."""
        return self._server.read_together(self.read_limits(names))[0]

    def read_limits(self, names: Iterable[str] | None = None) -> Reading[list[Limit]]:
        """The reading of :meth:`limits`, in two round trips."""
        if names is not None and not (names := list(names)):
            return []
        rows = none_refused((yield [read_call(keys, names or []) for keys in self._shards.values()]))
        by_name: dict[bytes, list[Any]] = {}
        for row in chain(*rows):
            by_name.setdefault(row[0], []).append(row)
        held = (yield from self._read_holders([name.decode() for name in by_name])) if by_name else []
        found = [Limit.read(each, holders=holders) for each, holders in zip(by_name.values(), held, strict=True)]
        return sorted(found, key=lambda limit: limit.name)

    def _read_holders(self, names: Sequence[str]) -> Reading[list[list[str]]]:
        commands = [_holders_command(keys, name, _HOLDERS) for name in names for keys in self._shards.values()]
        members = iter(none_refused((yield commands)))
        return [_holders(chain(*islice(members, len(self._shards))))[:_HOLDERS] for _ in names]

    def set_weights(self, weights: Mapping[str, float]) -> None:
        """Replace the weights of fairness keys: a key with weight 2 has twice as many turns as one with 1, the default.
        Raises ValueError."""
        if any(not 0 < weight < float("inf") for weight in weights.values()):
            raise ValueError(f"weights must be above 0: {dict(weights)!r}")
        rows = [part for pair in weights.items() for part in pair]
        commands: list[Sequence[Argument]] = []
        for keys in self._shards.values():
            commands += [("DEL", keys.flow_weights), *([("HSET", keys.flow_weights, *rows)] if rows else [])]
        self._server.execute_all(commands)

    def waiting(self, queue: str) -> QueueWaiting:
        """Return how many messages wait in *queue*."""
        waiting, _, turns, _, stopped = self._keys.turns(queue)
        commands = [("ZRANGE", turns, 0, _KEYS - 1), ("ZRANGE", stopped, 0, _KEYS - 1)]
        in_turn, groups = self._server.execute_all(commands)
        names = dict.fromkeys([*in_turn, *(group.split(b"\0")[2] for group in groups)])
        keys = [name.decode() for name in names][:_KEYS]
        numbers = self._server.execute_all([("ZLEXCOUNT", waiting, *_range(key)) for key in keys])
        total = sum(stats.waiting for stats in self._inspector.stats([queue]))
        return QueueWaiting(total, dict(zip(keys, numbers, strict=True)))

    def place(self, queue: str, holder: str) -> Place | None:
        """Find a waiting message of *queue* by the last word of its groups; None if it does not wait, or is not among
        the first 10,000."""
        return self._server.read_together(self.read_place(queue, holder))[0]

    def read_place(self, queue: str, holder: str, prefix: str = "") -> Reading[Place | None]:
        """The reading of :meth:`place`, in the shard with *prefix*, by default the first, in two round trips; three if
        a limit stops the message."""
        keys = self._shards[prefix] if prefix else self._keys
        [traits] = none_refused((yield [("HGET", keys.queues, queue)]))
        streams = [keys.stream(queue, level) for level in levels_of((traits or b"0").decode())]
        reads: list[Command] = [
            Call(PLACE, [keys.queues], [queue, holder, _WAITING]),
            Call(LOCATE, streams, [holder, _NEW]),
            ("ZCARD", keys.turns(queue)[0]),
        ]
        [word, *facts], [state, *before], read = none_refused((yield reads))
        if word == b"ABSENT":
            return Place(None, int(before[0]) + int(read)) if state == b"WAITS" else None
        ahead, name, own = facts
        if not name:
            return Place(None, ahead)
        reads = [read_call(each, [name]) for each in self._shards.values()]
        reads += [_holders_command(each, name.decode(), _HOLDERS) for each in self._shards.values()]
        answers = none_refused((yield reads))
        rows, held = chain(*answers[: len(self._shards)]), chain(*answers[len(self._shards) :])
        return Place(Limit.read(list(rows), own), ahead, _holders(held)[:_HOLDERS])


def change_call(keys: Keys, *args: Argument) -> Call:
    """Return the call of ``change_limit.lua``."""
    return Call(CHANGE_LIMIT, [keys.queues, keys.bell, keys.flow_limits, keys.flow_mover], args)


def read_call(keys: Keys, names: Sequence[Argument] = ()) -> Call:
    """Return the call of ``read_limits.lua``."""
    return Call(READ_LIMITS, [keys.queues, keys.flow_limits], names)


def _holders_command(keys: Keys, name: str, count: int) -> Sequence[Argument]:
    return ("ZRANGEBYLEX", keys.flow_holders, *_range(name), "LIMIT", 0, count)


def _range(name: str) -> tuple[str, str]:
    """Return the range of members that start with *name* and NUL."""
    return f"[{name}\0", f"({name}\1"


def _holders(members: Iterable[bytes]) -> list[str]:
    return [member.split(b"\0")[1].decode() for member in members]
