"""Exchanges, queues and bindings on the server: declaring, listing and deleting them."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from kombu.exceptions import ChannelError
from redis.exceptions import ResponseError

from avtomatika.transport.connection.redis_client import RedisClient, as_dict
from avtomatika.transport.keys import GROUP, VERSION, Keys
from avtomatika.transport.publishing.routing import Router, read_table
from avtomatika.transport.scripts import ADD_TRAIT, DECLARE, DELETE_QUEUE, PAUSE, PURGE, UNBIND, Argument, Call

EXCHANGE_TYPES = ("direct", "topic", "fanout")
#: Supported message priorities.
LEVELS = range(10)
_PURGE_BATCH = 1000
#: (queue, exchange, routing key)
Binding = tuple[str, str, str]
#: Exchange -> type; queues; exchange -> fields of bindings.
_Entities = tuple[dict[str, str], list[str], dict[str, list[str]]]


class Topology:
    """The entities in all shards of *router*. Reads write nothing, and declaring writes only missing ones."""

    def __init__(self, server: RedisClient, router: Router) -> None:
        self._server = server
        self._router = router
        self._shards = [each.keys for each in router.shards]

    def declare(
        self,
        *,
        exchanges: Mapping[str, str] | None = None,
        queues: Iterable[str] = (),
        bindings: Iterable[Binding] = (),
    ) -> None:
        """Declare all entities in two round trips; *exchanges* maps names to types.

        Raises ChannelError for an unsupported exchange type and for an exchange that exists with another type.
        """
        exchanges = dict(exchanges or {})
        for exchange, kind in exchanges.items():
            if kind not in EXCHANGE_TYPES:
                raise ChannelError(f"COMMAND_INVALID: exchange {exchange!r} cannot be of type {kind!r}")
        missing = self._missing(exchanges, list(dict.fromkeys(queues)), list(bindings))
        if calls := [
            _declare_call(keys, *lacks) for keys, lacks in zip(self._shards, missing, strict=True) if any(lacks)
        ]:
            for word, *names in self._server.run_each(calls):
                if word == b"OTHER_TYPE":
                    name, kind = (each.decode() for each in names)
                    raise ChannelError(f"PRECONDITION_FAILED: exchange {name!r} is of type {kind!r}")
            self._router.forget_routes()

    def lacks(self, exchanges: Mapping[str, str], queues: list[str]) -> bool:
        """Return whether any of *exchanges* or *queues* does not exist."""
        return any(map(any, self._missing(dict(exchanges), queues, [])))

    def _missing(self, exchanges: dict[str, str], queues: list[str], bindings: Sequence[Binding]) -> list[_Entities]:
        """Return for each shard what is not declared."""
        commands: list[tuple[Argument, ...]] = []
        shards: list[tuple[list[str], dict[str, list[str]]]] = []
        for router in self._router.shards:
            keys, own = router.keys, [name for name in queues if router in self._router.places(name)]
            wanted: dict[str, list[str]] = {}
            for queue, exchange, routing_key in bindings:
                if router in self._router.places(queue):
                    wanted.setdefault(exchange, []).append(_field(queue, routing_key))
            commands += [("HMGET", keys.exchanges, *exchanges, ""), ("HMGET", keys.queues, *own, "")]
            commands += [("HMGET", keys.bindings(exchange), *fields) for exchange, fields in wanted.items()]
            shards.append((own, wanted))
        answers = iter(self._server.execute_all(commands))
        found: list[_Entities] = []
        for own, wanted in shards:
            types, traits, *bound = islice(answers, 2 + len(wanted))
            rows = zip(exchanges.items(), types, strict=False)
            others = {name: kind for (name, kind), known in rows if known != kind.encode()}
            unbound = {
                exchange: new
                for (exchange, fields), there in zip(wanted.items(), bound, strict=True)
                if (new := [field for field, value in zip(fields, there, strict=True) if value is None])
            }
            found.append((others, [name for name, known in zip(own, traits, strict=False) if known is None], unbound))
        return found

    def bind_fanout(self, queue: str, exchange: str, *, is_new: bool = False) -> None:
        """Bind *queue* to a fanout *exchange*, starting with the next message.

        A queue that is already bound keeps its position unless it *is_new*.
        """
        for keys in [router.keys for router in self._router.places(queue)]:
            answer = self._server.pipeline([("XINFO", "STREAM", keys.fanout(exchange))])[0]
            facts: dict[bytes, Any] = {} if isinstance(answer, ResponseError) else as_dict(answer)
            place = f"{facts.get(b'last-generated-id', b'0-0').decode()}/{facts.get(b'entries-added', 0)}"
            self._server.execute(("HSET" if is_new else "HSETNX", keys.listens(queue), exchange, place))
            self._server.run(Call(ADD_TRAIT, [keys.queues, keys.bell], [queue, "f"]))

    def type_of(self, exchange: str) -> str | None:
        """Return the type of *exchange*, or None if it is not declared."""
        kind = self._server.execute(("HGET", self._shards[0].exchanges, exchange))
        return kind.decode() if kind else None

    def has_queue(self, queue: str) -> bool:
        return bool(self._server.execute(("HEXISTS", self._router.places(queue)[0].keys.queues, queue)))

    def queues(self) -> list[str]:
        """Return the names of all queues."""
        return self._names([keys.queues for keys in self._shards])

    def bindings(self, exchange: str) -> list[Binding]:
        """Return all bindings of *exchange*."""
        return self._bindings([exchange])

    def all_bindings(self) -> list[Binding]:
        return self._bindings(self._names([keys.exchanges for keys in self._shards]))

    def _names(self, tables: Sequence[str]) -> list[str]:
        found = self._server.execute_all([("HKEYS", table) for table in tables])
        return list(dict.fromkeys(name.decode() for name in chain(*found)))

    def _bindings(self, exchanges: Sequence[str]) -> list[Binding]:
        places = [(keys.bindings(exchange), exchange) for exchange in exchanges for keys in self._shards]
        tables = self._server.execute_all([("HGETALL", key) for key, _ in places])
        found = (_listed(exchange, table) for (_, exchange), table in zip(places, tables, strict=True))
        return list(dict.fromkeys(chain(*found)))

    def unbind(self, bindings: Iterable[Binding]) -> None:
        bindings = list(bindings)
        if bindings:
            fields, pairs = [_field(queue, key) for queue, _, key in bindings], [each[:2] for each in bindings]
            keys_of = [[keys.bindings(exchange) for _, exchange in pairs] for keys in self._shards]
            self._server.run_each([Call(UNBIND, keys, fields) for keys in keys_of])
            self._server.execute_all(
                [("HDEL", keys.listens(queue), exchange) for keys in self._shards for queue, exchange in pairs]
            )
            self._router.forget_routes()

    def delete_exchange(self, exchange: str) -> None:
        self.unbind(self.bindings(exchange))
        deleted = [("HDEL", keys.exchanges, exchange) for keys in self._shards]
        self._server.execute_all([*deleted, *[("UNLINK", keys.fanout(exchange)) for keys in self._shards]])
        self._router.forget_routes()

    def delete_queue(self, queue: str, *, if_empty: bool = False) -> bool:
        """Delete *queue* with its bindings and messages, but not its dead letters.

        Returns False, changing nothing, if *if_empty* and it contains messages; one that comes at this moment keeps it
        in its shard.
        """
        if if_empty and len(self._shards) > 1 and self.sizes([queue])[queue]:
            return False
        return self._delete(queue, self.all_bindings(), "empty" if if_empty else "")

    def delete_expired(self, queues: Sequence[str]) -> None:
        """Delete those of *queues* that have expired."""
        bindings = self.all_bindings()
        for queue in queues:
            self._delete(queue, bindings, "expired")

    def _delete(self, queue: str, all_bindings: Sequence[Binding], condition: str) -> bool:
        bindings = [binding for binding in all_bindings if binding[0] == queue]
        fields = [_field(queue, routing_key) for _, _, routing_key in bindings]
        known = self._streams(queue) if not condition else []
        calls = []
        for place, names in enumerate(self._shards):
            streams = known[place] if known else [names.stream(queue, level) for level in LEVELS]
            own = [names.delays(queue), names.delayed(queue), names.listens(queue), *streams]
            own += [*names.turns(queue), names.held(queue)]
            keys = [names.queues, names.limits, names.expiring, names.revoked, *own]
            keys += [names.bindings(exchange) for _, exchange, _ in bindings]
            calls.append(Call(DELETE_QUEUE, keys, [queue, condition, len(own), *fields]))
        done = self._server.run_each(calls)
        self._router.forget_routes()
        return all(done)

    def purge(self, queue: str) -> int:
        """Delete the waiting and delayed messages of *queue*; return their number."""
        total = 0
        for names, streams in zip(self._shards, self._streams(queue), strict=True):
            turns = names.turns(queue)
            keys = [names.delays(queue), names.delayed(queue), *turns, *streams]
            call = Call(PURGE, keys, [_PURGE_BATCH, len(turns)])
            while removed := self._server.run(call):
                total += int(removed)
        return total

    def set_paused(self, queue: str, by: str) -> int:
        """Pause *queue* in the name of *by*, or resume it if that is "".

        Returns 1, 0 if the queue does not exist, -1 if it cannot be paused since it reads a fanout exchange.
        """
        keys_of = [[each.keys.queues, each.keys.bell, each.keys.limits] for each in self._router.places(queue)]
        return min(int(each) for each in self._server.run_each([Call(PAUSE, keys, [queue, by]) for keys in keys_of]))

    def size(self, queue: str) -> int:
        """Count the waiting messages of *queue*, excluding delayed and unacknowledged ones."""
        streams = list(chain(*self._streams(queue)))
        commands: list[tuple[Argument, ...]] = [("XLEN", stream) for stream in streams]
        commands += [("XPENDING", stream, GROUP) for stream in streams]
        answers = self._server.pipeline(commands)
        there: int = sum(answer for answer in answers[: len(streams)] if isinstance(answer, int))
        held: int = sum(answer[0] for answer in answers[len(streams) :] if not isinstance(answer, ResponseError))
        return max(there - held, 0)

    def sizes(self, queues: Sequence[str]) -> dict[str, int]:
        """Count all messages of each queue: waiting, delayed and unacknowledged."""
        commands: list[tuple[Argument, ...]] = []
        for queue in queues:
            for keys in self._shards:
                commands += [("XLEN", keys.stream(queue, level)) for level in LEVELS]
                commands.append(("ZCARD", keys.delays(queue)))
        answers = iter(self._server.execute_all(commands) if commands else [])
        each = (len(LEVELS) + 1) * len(self._shards)
        return {queue: sum(map(int, islice(answers, each))) for queue in queues}

    def _streams(self, queue: str) -> list[list[str]]:
        """Return the streams of *queue* in each shard."""
        found = self._server.execute_all([("HGET", keys.queues, queue) for keys in self._shards])
        levels = [[level for level in (traits or b"0").decode() if level.isdigit()] for traits in found]
        shards = zip(self._shards, levels, strict=True)
        return [[keys.stream(queue, level) for level in each] for keys, each in shards]


def _declare_call(
    names: Keys, exchanges: Mapping[str, str], queues: Sequence[str], wanted: Mapping[str, Sequence[str]]
) -> Call:
    keys = [names.exchanges, names.queues, names.bell, *[names.bindings(exchange) for exchange in wanted]]
    args: list[Argument] = [len(exchanges), len(queues), *chain(*exchanges.items()), *queues]
    for fields in wanted.values():
        args += (len(fields), *fields)
    return Call(DECLARE, keys, args)


def _listed(exchange: str, fields: Any) -> list[Binding]:
    """Convert a binding hash to bindings."""
    table = read_table(fields)
    return [(queue, exchange, key) for key, queues in table.items() if key != VERSION for queue in queues]


def _field(queue: str, routing_key: str) -> str:
    """Return the field of a binding in its exchange's hash."""
    if "\t" in queue or "\t" in routing_key or routing_key == VERSION:
        raise ChannelError(f"COMMAND_INVALID: cannot bind {queue!r} with {routing_key!r}")
    return f"{routing_key}\t{queue}"
