"""Exchanges, queues and bindings on the server: declaring, listing and deleting them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kombu.exceptions import ChannelError
from redis.exceptions import ResponseError

from avtomatika.transport.connection.redis_client import RedisClient, as_dict
from avtomatika.transport.keys import GROUP, VERSION
from avtomatika.transport.publishing.routing import Router, read_table
from avtomatika.transport.scripts import ADD_TRAIT, DECLARE, DELETE_QUEUE, PAUSE, PURGE, UNBIND, Argument, Call

EXCHANGE_TYPES = ("direct", "topic", "fanout")
#: Supported message priorities.
LEVELS = range(10)
_PURGE_BATCH = 1000
#: (queue, exchange, routing key)
Binding = tuple[str, str, str]


class Topology:
    """The entities under one key prefix. Reads write nothing, and declaring writes only missing ones."""

    def __init__(self, server: RedisClient, router: Router) -> None:
        self._server = server
        self._router = router
        self._keys = router.keys

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
        wanted: dict[str, list[str]] = {}
        for queue, exchange, routing_key in bindings:
            wanted.setdefault(exchange, []).append(_field(queue, routing_key))
        exchanges, queues, wanted = self._missing(exchanges, list(dict.fromkeys(queues)), wanted)
        if exchanges or queues or wanted:
            self._declare(exchanges, queues, wanted)
            self._router.forget_routes()

    def lacks(self, exchanges: Mapping[str, str], queues: list[str]) -> bool:
        """Return whether any of *exchanges* or *queues* does not exist."""
        missing, unknown, _ = self._missing(dict(exchanges), queues, {})
        return bool(missing or unknown)

    def _missing(
        self, exchanges: dict[str, str], queues: list[str], wanted: dict[str, list[str]]
    ) -> tuple[dict[str, str], list[str], dict[str, list[str]]]:
        commands: list[tuple[Argument, ...]] = [
            ("HMGET", self._keys.exchanges, *exchanges, ""),
            ("HMGET", self._keys.queues, *queues, ""),
        ]
        commands += [("HMGET", self._keys.bindings(exchange), *fields) for exchange, fields in wanted.items()]
        types, traits, *bound = self._server.execute_all(commands)
        return (
            {
                name: kind
                for (name, kind), known in zip(exchanges.items(), types, strict=False)
                if known != kind.encode()
            },
            [queue for queue, known in zip(queues, traits, strict=False) if known is None],
            {
                exchange: new
                for (exchange, fields), there in zip(wanted.items(), bound, strict=True)
                if (new := [field for field, value in zip(fields, there, strict=True) if value is None])
            },
        )

    def _declare(self, exchanges: dict[str, str], queues: list[str], wanted: dict[str, list[str]]) -> None:
        keys = [self._keys.exchanges, self._keys.queues, self._keys.bell]
        keys += [self._keys.bindings(exchange) for exchange in wanted]
        args: list[Argument] = [len(exchanges), len(queues)]
        for exchange, kind in exchanges.items():
            args += (exchange, kind)
        args += queues
        for fields in wanted.values():
            args += (len(fields), *fields)
        word, *names = self._server.run(Call(DECLARE, keys, args))
        if word == b"OTHER_TYPE":
            raise ChannelError(f"PRECONDITION_FAILED: exchange {names[0].decode()!r} is of type {names[1].decode()!r}")

    def bind_fanout(self, queue: str, exchange: str, *, is_new: bool = False) -> None:
        """Bind *queue* to a fanout *exchange*, starting with the next message.

        A queue that is already bound keeps its position unless it *is_new*.
        """
        answer = self._server.pipeline([("XINFO", "STREAM", self._keys.fanout(exchange))])[0]
        facts: dict[bytes, Any] = {} if isinstance(answer, ResponseError) else as_dict(answer)
        place = f"{facts.get(b'last-generated-id', b'0-0').decode()}/{facts.get(b'entries-added', 0)}"
        self._server.execute(("HSET" if is_new else "HSETNX", self._keys.listens(queue), exchange, place))
        self._server.run(Call(ADD_TRAIT, [self._keys.queues, self._keys.bell], [queue, "f"]))

    def type_of(self, exchange: str) -> str | None:
        """Return the type of *exchange*, or None if it is not declared."""
        kind = self._server.execute(("HGET", self._keys.exchanges, exchange))
        return kind.decode() if kind else None

    def has_queue(self, queue: str) -> bool:
        return bool(self._server.execute(("HEXISTS", self._keys.queues, queue)))

    def queues(self) -> list[str]:
        """Return the names of all queues."""
        return [name.decode() for name in self._server.execute(("HKEYS", self._keys.queues))]

    def bindings(self, exchange: str) -> list[Binding]:
        """Return all bindings of *exchange*."""
        return _listed(exchange, self._server.execute(("HGETALL", self._keys.bindings(exchange))))

    def all_bindings(self) -> list[Binding]:
        names = [name.decode() for name in self._server.execute(("HKEYS", self._keys.exchanges))]
        tables = self._server.execute_all([("HGETALL", self._keys.bindings(name)) for name in names])
        return [binding for name, table in zip(names, tables, strict=True) for binding in _listed(name, table)]

    def unbind(self, bindings: Iterable[Binding]) -> None:
        bindings = list(bindings)
        if bindings:
            keys = [self._keys.bindings(exchange) for _, exchange, _ in bindings]
            self._server.run(Call(UNBIND, keys, [_field(queue, key) for queue, _, key in bindings]))
            listens = [("HDEL", self._keys.listens(queue), exchange) for queue, exchange, _ in bindings]
            self._server.execute_all(listens)
            self._router.forget_routes()

    def delete_exchange(self, exchange: str) -> None:
        self.unbind(self.bindings(exchange))
        self._server.execute_all([("HDEL", self._keys.exchanges, exchange), ("UNLINK", self._keys.fanout(exchange))])
        self._router.forget_routes()

    def delete_queue(self, queue: str, *, if_empty: bool = False) -> bool:
        """Delete *queue* with its bindings and messages, but not its dead letters.

        Returns False, changing nothing, if *if_empty* and it contains messages.
        """
        return self._delete(queue, self.all_bindings(), "empty" if if_empty else "")

    def delete_expired(self, queues: Sequence[str]) -> None:
        """Delete those of *queues* that have expired."""
        bindings = self.all_bindings()
        for queue in queues:
            self._delete(queue, bindings, "expired")

    def _delete(self, queue: str, all_bindings: Sequence[Binding], condition: str) -> bool:
        bindings = [binding for binding in all_bindings if binding[0] == queue]
        streams = [self._keys.stream(queue, level) for level in LEVELS] if condition else self._streams(queue)
        own = [self._keys.delays(queue), self._keys.delayed(queue), self._keys.listens(queue), *streams]
        own += [*self._keys.turns(queue), self._keys.held(queue)]
        keys = [self._keys.queues, self._keys.limits, self._keys.expiring, self._keys.revoked, *own]
        keys += [self._keys.bindings(exchange) for _, exchange, _ in bindings]
        fields = [_field(queue, routing_key) for _, _, routing_key in bindings]
        done = self._server.run(Call(DELETE_QUEUE, keys, [queue, condition, len(own), *fields]))
        self._router.forget_routes()
        return bool(done)

    def purge(self, queue: str) -> int:
        """Delete the waiting and delayed messages of *queue*; return their number."""
        turns = self._keys.turns(queue)
        keys = [self._keys.delays(queue), self._keys.delayed(queue), *turns, *self._streams(queue)]
        call = Call(PURGE, keys, [_PURGE_BATCH, len(turns)])
        total = 0
        while removed := self._server.run(call):
            total += int(removed)
        return total

    def set_paused(self, queue: str, by: str) -> int:
        """Pause *queue* in the name of *by*, or resume it if that is "".

        Returns 1, 0 if the queue does not exist, -1 if it cannot be paused since it reads a fanout exchange.
        """
        keys = [self._keys.queues, self._keys.bell, self._keys.limits]
        return int(self._server.run(Call(PAUSE, keys, [queue, by])))

    def size(self, queue: str) -> int:
        """Count the waiting messages of *queue*, excluding delayed and unacknowledged ones."""
        streams = self._streams(queue)
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
            commands += [("XLEN", self._keys.stream(queue, level)) for level in LEVELS]
            commands.append(("ZCARD", self._keys.delays(queue)))
        answers = iter(self._server.execute_all(commands) if commands else [])
        return {queue: sum(int(next(answers)) for _ in range(len(LEVELS) + 1)) for queue in queues}

    def _streams(self, queue: str) -> list[str]:
        traits = self._server.execute(("HGET", self._keys.queues, queue)) or b"0"
        return [self._keys.stream(queue, level) for level in traits.decode() if level.isdigit()]


def _listed(exchange: str, fields: Any) -> list[Binding]:
    """Convert a binding hash to bindings."""
    table = read_table(fields)
    return [(queue, exchange, key) for key, queues in table.items() if key != VERSION for queue in queues]


def _field(queue: str, routing_key: str) -> str:
    """Return the field of a binding in its exchange's hash."""
    if "\t" in queue or "\t" in routing_key or routing_key == VERSION:
        raise ChannelError(f"COMMAND_INVALID: cannot bind {queue!r} with {routing_key!r}")
    return f"{routing_key}\t{queue}"
