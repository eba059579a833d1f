"""Routes of messages, from bindings that are cached until a script reports that they have changed."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from secrets import token_hex
from time import monotonic
from types import MappingProxyType
from typing import Any

from avtomatika.transport import envelope
from avtomatika.transport.connection.redis_client import RedisClient, as_dict
from avtomatika.transport.envelope import Outgoing
from avtomatika.transport.errors import NoRouteError, RerouteError
from avtomatika.transport.keys import VERSION, Keys, parse_tag, prefix_of
from avtomatika.transport.scripts import ADD_TRAIT, TAKE_TURNS, Call

#: Maximum number of attempts at a write while its bindings keep changing.
_MAX_ATTEMPTS = 10
#: Maximum number of cached routes: topic exchanges have an unlimited number of routing keys.
_CACHE_SIZE = 10_000
#: How long a queue that is bound in another slot may be missed by publishers, if queues are spread.
_SPREAD_SECONDS = 1.0
MAX_PRIORITY = 9
_NO_HEADERS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Route:
    """The queues for a routing key; *version* is that of the bindings it was read from."""

    exchange: str
    #: Key of the exchange's binding hash; "" for the default exchange, which has none.
    bindings_key: str
    version: str
    queues: tuple[str, ...]
    is_fanout: bool = False


@dataclass(frozen=True, slots=True)
class _Bindings:
    type: str
    version: str
    #: Routing key or pattern -> queues.
    queues: dict[str, list[str]]

    @property
    def is_fanout(self) -> bool:
        return self.type == "fanout"

    def lookup(self, routing_key: str) -> tuple[str, ...]:
        if self.is_fanout:
            return ()
        if self.type != "topic":
            return tuple(self.queues.get(routing_key, ()))
        found = (queue for pattern, queues in self.queues.items() if matches(pattern, routing_key) for queue in queues)
        return tuple(dict.fromkeys(found))


class Router:
    """Routes and streams under the server's first prefix of keys; *shards* have those of each prefix. Threads may
    share it."""

    def __init__(self, server: RedisClient, *, consumer_name: str = "", is_spread: bool = False) -> None:
        self._server = server.at(server.prefix)
        self.keys = Keys(server.prefix)
        #: Holder of the deliveries that a script acknowledges.
        self.consumer_name = consumer_name
        prefixes = server.prefixes if len(server.prefixes) > 1 else ()
        self._shards = {each: Router(server.at(each), consumer_name=consumer_name) for each in prefixes}
        #: Each queue is in one shard, by its name.
        self.is_spread = is_spread
        #: Exchange -> when its bindings in all shards are read again.
        self._read_at: dict[str, float] = {}
        self._exchanges: dict[str, _Bindings] = {}
        self._routes: dict[tuple[str, str], Route] = {}
        self._streams: dict[tuple[str, int | str], str] = {}
        #: Queue -> the fairness key that needs no call of take_turns.lua; None if no key does.
        self._turns: dict[str, str | None] = {}

    def of(self, prefix: str) -> "Router":
        """Return the router of the shard whose keys start with *prefix*."""
        return self._shards[prefix] if self._shards else self

    @property
    def shards(self) -> Sequence["Router"]:
        """The routers of each shard; this one if there is only one."""
        return list(self._shards.values()) or [self]

    def places(self, queue: str) -> Sequence["Router"]:
        """Return the routers of the shards that have *queue*: all, or one if the queues are spread."""
        if not self.is_spread:
            return self.shards
        return [max(self.shards, key=lambda each: blake2b(f"{each.keys.prefix}{queue}".encode()).digest())]

    def targets(self, exchange: str, routing_key: str) -> Sequence["Router"]:
        """Return the routers of the shards with queues for *routing_key*, if queues are spread. Raises NoRouteError."""
        if not exchange:
            return self.places(routing_key)
        for due in (self._read_at.get(exchange, 0), 0):
            if monotonic() >= due:
                self._read(exchange, self.shards)
                self._read_at[exchange] = monotonic() + _SPREAD_SECONDS
            tables = [(each, each._exchanges[exchange]) for each in self.shards]
            if found := [each for each, table in tables if table.is_fanout or table.lookup(routing_key)]:
                return found
        raise NoRouteError(exchange, routing_key)

    def of_tag(self, tag: str) -> "Router":
        """Return the router of the shard of a delivery tag."""
        return self._shards[prefix_of(tag)] if self._shards else self

    def split(self, tags: Iterable[str]) -> dict["Router", list[str]]:
        """Group delivery tags by the router of their shard."""
        found: dict[Router, list[str]] = {}
        if not self._shards and (all_tags := list(tags)):
            return {self: all_tags}
        for tag in tags:
            found.setdefault(self.of_tag(tag), []).append(tag)
        return found

    def rename(self, consumer_name: str) -> None:
        """Take over the deliveries of *consumer_name*."""
        for router in (self, *self._shards.values()):
            router.consumer_name = consumer_name

    @property
    def identity(self) -> str:
        """Identifier of this server's data."""
        key = self.keys.identity
        _, kept = self._server.execute_all([("SET", key, token_hex(8), "NX"), ("GET", key)])
        return str(kept.decode())

    def route(self, exchange: str, routing_key: str) -> Route:
        """Return the route for *routing_key*. Raises NoRouteError if no queue is bound."""
        route = self._routes.get((exchange, routing_key))
        if route is None:
            route = self._look_up(exchange, routing_key) if exchange else self._default(routing_key)
            if len(self._routes) >= _CACHE_SIZE:
                self._routes.clear()
            self._routes[exchange, routing_key] = route
        return route

    def forget_routes(self, exchange: str | None = None) -> None:
        """Reread the bindings of *exchange*, or of all exchanges, on next use."""
        self._read_at.clear()
        for router in self._shards.values():
            router.forget_routes(exchange)
        if exchange is None:
            self._exchanges.clear()
            self._streams.clear()
            self._turns.clear()
        else:
            self._exchanges.pop(exchange, None)
        self._routes.clear()

    def attempts(self) -> Iterator[None]:
        """Yield once per attempt at a script that answers REROUTE when bindings have changed since they were read.

        Forgets the routes between attempts. Raises RerouteError when the last attempt has failed too.
        """
        for _ in range(_MAX_ATTEMPTS):
            yield
            self.forget_routes()
        raise RerouteError

    def stream(self, queue: str, priority: int, headers: Mapping[str, Any] = _NO_HEADERS) -> str:
        """Return the key of *queue*'s stream for *priority*, announcing a new priority to consumers, and that the
        queue is taken in turns if the fairness key or the limits in *headers* require it."""
        flow = headers.get(envelope.FLOW_HEADER)
        if isinstance(flow, Mapping) and self._turns.get(queue, "") is not None:
            self._take_turns(queue, flow)
        return self._streams.get((queue, priority)) or self._open(queue, level_of(priority))

    def delay_keys(self, queue: str, priority: int, headers: Mapping[str, Any] = _NO_HEADERS) -> tuple[str, str]:
        """Return the keys of *queue*'s delay set and delayed messages, announcing a new priority and delays to
        consumers."""
        self.stream(queue, priority, headers)
        if (queue, "d") not in self._streams:
            self._add_trait(queue, "d")
            self._streams[queue, "d"] = self.keys.delays(queue)
        return self._streams[queue, "d"], self.keys.delayed(queue)

    def encode(self, outgoing: Outgoing) -> str:
        """Return the payload to store for *outgoing*."""
        return envelope.encode(outgoing)

    @staticmethod
    def parse_tag(tag: str) -> tuple[str, str]:
        """Return the stream key and entry id of a delivery tag."""
        return parse_tag(tag)

    def _open(self, queue: str, level: int) -> str:
        self._add_trait(queue, str(level))
        if len(self._streams) >= _CACHE_SIZE:  # reply queues come and go
            self._streams.clear()
        key = self._streams[queue, level] = self.keys.stream(queue, level)
        return key

    def _add_trait(self, queue: str, trait: str) -> None:
        if not self._server.run(Call(ADD_TRAIT, [self.keys.queues, self.keys.bell], [queue, trait])):
            self.forget_routes()  # drop the routes that led to a deleted queue
            raise NoRouteError("", queue)

    def _take_turns(self, queue: str, flow: Mapping[str, Any]) -> None:
        key = str(flow.get("key", ""))
        limits = flow.get("limits")
        has_values = isinstance(limits, list | tuple) and not all(isinstance(limit, str) for limit in limits)
        if has_values or self._turns.get(queue) != key:
            keys = [self.keys.queues, self.keys.bell, self.keys.limits]
            answer = self._server.run(Call(TAKE_TURNS, keys, [queue, key, int(has_values)]))
            if len(self._turns) >= _CACHE_SIZE:
                self._turns.clear()
            if answer:  # otherwise publishing reports the missing queue
                self._turns[queue] = key if answer == 1 else None

    def _default(self, queue: str) -> Route:
        if not self._server.execute(("HEXISTS", self.keys.queues, queue)):
            raise NoRouteError("", queue)
        return Route("", "", "", (queue,))

    def _look_up(self, exchange: str, routing_key: str) -> Route:
        bindings = self._exchanges.get(exchange)
        queues = bindings.lookup(routing_key) if bindings else ()
        if bindings is None or not (
            queues or bindings.is_fanout
        ):  # it may have been bound since the bindings were read
            self._read(exchange, [self])
            bindings = self._exchanges[exchange]
            queues = bindings.lookup(routing_key)
        if not (queues or bindings.is_fanout):
            raise NoRouteError(exchange, routing_key)
        return Route(exchange, self.keys.bindings(exchange), bindings.version, queues, bindings.is_fanout)

    def _read(self, exchange: str, shards: Sequence["Router"]) -> None:
        """Read the bindings of *exchange* in *shards*."""
        names = [each.keys for each in shards]
        reads = [(("HGET", keys.exchanges, exchange), ("HGETALL", keys.bindings(exchange))) for keys in names]
        answers = self._server.execute_all(list(chain(*reads)))
        for router, kind, fields in zip(shards, answers[::2], answers[1::2], strict=True):
            table = read_table(fields)
            version = table.pop(VERSION, [""])[0]
            router._exchanges[exchange] = _Bindings(kind.decode() if kind else "direct", version, table)


def level_of(priority: object) -> int:
    """Clamp *priority* to the supported range; 0 if it is not a number."""
    return min(max(priority, 0), MAX_PRIORITY) if isinstance(priority, int) else 0


def read_table(fields: list[bytes] | dict[bytes, bytes]) -> dict[str, list[str]]:
    """Read a binding hash (RESP2 or RESP3) as routing key -> queues; ``:version`` -> [version]."""
    table: dict[str, list[str]] = defaultdict(list)
    for name, value in as_dict(fields).items():
        key, tab, queue = name.decode().partition("\t")
        table[key].append(queue if tab else value.decode())
    return dict(table)


def matches(pattern: str, routing_key: str) -> bool:
    """Return whether *routing_key* matches *pattern*: ``*`` matches one word, ``#`` zero or more words.

    >>> matches("a.#", "a"), matches("a.*", "a"), matches("#.c", "a.b.c")
    (True, False, True)
    """
    return _fits(pattern.split("."), routing_key.split(".") if routing_key else [])


def _fits(pattern: Sequence[str], words: Sequence[str]) -> bool:
    """Match part by part: ``reach[i]`` says whether the parts so far match the first *i* words."""
    reach = [True] + [False] * len(words)
    for part in pattern:
        if part == "#":
            first = reach.index(True) if True in reach else len(reach)
            reach = [index >= first for index in range(len(reach))]
        else:
            step = [False]
            step += [before and part in ("*", word) for before, word in zip(reach, words, strict=False)]
            reach = step
    return reach[-1]
