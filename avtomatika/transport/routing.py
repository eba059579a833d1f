"""Where a message goes: the bindings as the server has them, cached until it says that they have changed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from secrets import token_hex

from . import envelope
from .envelope import Outgoing
from .errors import NoRouteError
from .keys import VERSION, Keys, parse_tag
from .redis_client import RedisClient
from .scripts import TRAIT, Call
from .topic_match import matches

#: Answers kept for topic exchanges, whose keys are without number.
_CACHE_SIZE = 10_000
MAX_PRIORITY = 9


@dataclass(frozen=True, slots=True)
class Route:
    """Where an exchange leads a routing key; *version* is that of the bindings it was read from."""

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
    """Routes and streams of one key prefix. Threads may share it."""

    def __init__(self, server: RedisClient, *, prefix: str = "avt:", consumer_name: str = "") -> None:
        self._server = server
        self.keys = Keys(prefix)
        #: Who holds the deliveries that a script acknowledges.
        self.consumer_name = consumer_name
        self._exchanges: dict[str, _Bindings] = {}
        self._routes: dict[tuple[str, str], Route] = {}
        self._streams: dict[tuple[str, int | str], str] = {}

    @property
    def identity(self) -> str:
        """What tells this server from every other one, for as long as it keeps its data."""
        key = self.keys.identity()
        _, kept = self._server.execute_all([("SET", key, token_hex(8), "NX"), ("GET", key)])
        return str(kept.decode())

    def route(self, exchange: str, routing_key: str) -> Route:
        """Where a message with *routing_key* goes. Raises NoRouteError when nothing is bound."""
        route = self._routes.get((exchange, routing_key))
        if route is None:
            route = self._look_up(exchange, routing_key) if exchange else self._default(routing_key)
            if len(self._routes) >= _CACHE_SIZE:
                self._routes.clear()
            self._routes[exchange, routing_key] = route
        return route

    def forget_routes(self, exchange: str | None = None) -> None:
        """Read the bindings anew when they are next needed: of *exchange*, else of all."""
        if exchange is None:
            self._exchanges.clear()
            self._streams.clear()
        else:
            self._exchanges.pop(exchange, None)
        self._routes.clear()

    def stream(self, queue: str, priority: int) -> str:
        """Key of the stream that holds *queue*'s messages of *priority*; consumers are told of a level that is new."""
        return self._streams.get((queue, priority)) or self._open(queue, level_of(priority))

    def delay_keys(self, queue: str, priority: int) -> tuple[str, str]:
        """Keys of *queue*'s sorted set of delays and hash of delayed messages; level and delays are made known."""
        self.stream(queue, priority)
        if (queue, "d") not in self._streams:
            self._make_known(queue, "d")
            self._streams[queue, "d"] = self.keys.delays(queue)
        return self._streams[queue, "d"], self.keys.delayed(queue)

    def encode(self, outgoing: Outgoing) -> str:
        """The payload to store for *outgoing*."""
        return envelope.encode(outgoing)

    @staticmethod
    def parse_tag(tag: str) -> tuple[str, str]:
        """Stream key and entry id of a delivery tag."""
        return parse_tag(tag)

    def _open(self, queue: str, level: int) -> str:
        self._make_known(queue, str(level))
        if len(self._streams) >= _CACHE_SIZE:  # queues of single callers come and go
            self._streams.clear()
        key = self._streams[queue, level] = self.keys.stream(queue, level)
        return key

    def _make_known(self, queue: str, trait: str) -> None:
        if not self._server.run(Call(TRAIT, [self.keys.queues(), self.keys.bell()], [queue, trait])):
            self.forget_routes()  # whatever led to a queue that is gone
            raise NoRouteError("", queue)

    def _default(self, queue: str) -> Route:
        if not self._server.execute(("HEXISTS", self.keys.queues(), queue)):
            raise NoRouteError("", queue)
        return Route("", "", "", (queue,))

    def _look_up(self, exchange: str, routing_key: str) -> Route:
        bindings = self._exchanges.get(exchange)
        queues = bindings.lookup(routing_key) if bindings else ()
        if bindings is None or not (queues or bindings.is_fanout):  # what was read once may have been bound since
            bindings = self._exchanges[exchange] = self._read(exchange)
            queues = bindings.lookup(routing_key)
        if not (queues or bindings.is_fanout):
            raise NoRouteError(exchange, routing_key)
        return Route(exchange, self.keys.bindings(exchange), bindings.version, queues, bindings.is_fanout)

    def _read(self, exchange: str) -> _Bindings:
        kind, fields = self._server.execute_all(
            [("HGET", self.keys.exchanges(), exchange), ("HGETALL", self.keys.bindings(exchange))]
        )
        table = read_table(fields)
        return _Bindings(kind.decode() if kind else "direct", table.pop(VERSION, [""])[0], table)


def level_of(priority: object) -> int:
    """The level that a message of *priority* is kept at; what is no number counts as 0."""
    return min(max(priority, 0), MAX_PRIORITY) if isinstance(priority, int) else 0


def read_table(fields: list[bytes] | dict[bytes, bytes]) -> dict[str, list[str]]:
    """A binding hash, as either protocol answers it, as routing key -> queues; ``:version`` -> [version]."""
    pairs = fields.items() if isinstance(fields, dict) else zip(fields[::2], fields[1::2], strict=True)
    table: dict[str, list[str]] = defaultdict(list)
    for name, value in pairs:
        key, tab, queue = name.decode().partition("\t")
        table[key].append(queue if tab else value.decode())
    return dict(table)
