"""kombu's channel methods for exchanges, queues and bindings, which are restored after FLUSHALL or a restart without
persistence, and routes for callers with their own scripts.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any
from uuid import uuid4

from kombu.exceptions import ChannelError
from kombu.transport import virtual
from kombu.transport.base import to_rabbitmq_queue_arguments
from kombu.transport.virtual.base import queue_declare_ok_t

from avtomatika.transport.connection.redis_client import RedisClient
from avtomatika.transport.publishing.routing import Router

from .expiry import Expiry, Limits
from .topology import Binding, Topology


class Declarations:
    """The declarations of one channel.

    *exchanges*, name -> type, is shared by the channels of a connection: kombu declares each exchange once per
    connection.
    """

    def __init__(self, topology: Topology, expiry: Expiry, exchanges: dict[str, str]) -> None:
        self._topology = topology
        self._expiry = expiry
        self.exchanges = exchanges
        self.queues: dict[str, Limits | None] = {}
        self.bindings: set[Binding] = set()

    def is_transient(self, queue: str) -> bool:
        """Return whether *queue* serves a single consumer and starts empty for each."""
        limits = self.queues.get(queue)
        return limits is not None and limits.is_transient

    def forget_exchange(self, exchange: str) -> None:
        self.exchanges.pop(exchange, None)
        self.bindings = {binding for binding in self.bindings if binding[1] != exchange}

    def forget_queue(self, queue: str) -> None:
        self.queues.pop(queue, None)
        self.bindings = {binding for binding in self.bindings if binding[0] != queue}

    def restore_lost(self) -> bool:
        """Redeclare everything if the server has lost an exchange or a queue; return whether it had."""
        if not self._topology.lacks(self.exchanges.copy(), list(self.queues)):
            return False
        self._topology.declare(exchanges=self.exchanges.copy())
        self.restore(self.queues)
        return True

    def restore(self, queues: Collection[str]) -> None:
        """Redeclare *queues* with their limits, their bindings and the exchanges of these."""
        bindings = [binding for binding in self.bindings if binding[0] in queues]
        exchanges = {exchange: self.exchanges.get(exchange, "direct") for _, exchange, _ in bindings}
        self._topology.declare(exchanges=exchanges, queues=queues, bindings=bindings)
        self._expiry.set_limits({queue: limits for queue in queues if (limits := self.queues.get(queue))})
        for queue, exchange, _ in bindings:
            if exchanges[exchange] == "fanout":
                self._topology.bind_fanout(queue, exchange)


class DeclaringChannel(virtual.Channel):
    """Everything is durable. Supports ``auto_delete`` and the arguments ``x-expires`` and ``x-message-ttl``.

    An exclusive queue is deleted automatically, but is visible to other connections.
    """

    supports_fanout = True
    do_restore = False
    topology: Topology
    expiry: Expiry
    router: Router
    declarations: Declarations
    closed: bool
    server: RedisClient

    def declare_many(
        self,
        *,
        exchanges: Mapping[str, str] | None = None,
        queues: Iterable[str] = (),
        bindings: Iterable[Binding] = (),
        arguments: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Declare any number of entities in a few round trips: :meth:`Topology.declare`. Bind fanouts with
        queue_bind. *arguments* are those of queues by name."""
        read = [(queue, Limits.read(each, is_auto_delete=False)) for queue, each in (arguments or {}).items()]
        limits = {queue: each for queue, each in read if each is not None}
        if limits:
            self.expiry.remove_expired()
        self.topology.declare(exchanges=exchanges, queues=queues, bindings=bindings)
        self.expiry.set_limits(limits)

    def exchange_declare(
        self, exchange: str | None = None, type: str | None = "direct", passive: bool = False, **_: Any
    ) -> None:
        kind = type or "direct"
        name = exchange or f"amq.{kind}"
        if not passive:
            self.topology.declare(exchanges={name: kind})
            self.declarations.exchanges[name] = kind
        elif self.topology.type_of(name) is None:
            raise ChannelError(f"NOT_FOUND - no exchange {name!r}", (50, 10), "Channel.exchange_declare", "404")

    def exchange_delete(self, exchange: str, if_unused: bool = False, nowait: bool = False) -> None:
        if not (if_unused and self.topology.bindings(exchange)):
            self.topology.delete_exchange(exchange)
            self.declarations.forget_exchange(exchange)

    def prepare_queue_arguments(self, arguments: dict[str, Any], **limits: Any) -> dict[str, Any]:
        """Convert kombu's ``expires`` and ``message_ttl`` (seconds) to AMQP's arguments (ms)."""
        return dict(to_rabbitmq_queue_arguments(arguments, **limits))

    def queue_declare(
        self,
        queue: str | None = None,
        passive: bool = False,
        *,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> queue_declare_ok_t:
        name = queue or f"amq.gen-{uuid4()}"
        if not passive:
            limits = Limits.read(arguments, is_auto_delete=auto_delete or exclusive)
            if limits:  # redeclaring an expired queue must not bring back its messages
                self.expiry.remove_expired()
            self.topology.declare(queues=[name])
            if limits:
                self.expiry.set_limits({name: limits})
            self.declarations.queues[name] = limits
        elif not self.topology.has_queue(name):
            raise ChannelError(f"NOT_FOUND - no queue {name!r}", (50, 10), "Channel.queue_declare", "404")
        return queue_declare_ok_t(name, self.topology.size(name), 0)

    def queue_bind(self, queue: str, exchange: str | None = None, routing_key: str = "", **_: Any) -> None:
        name = exchange or "amq.direct"
        kind = self.topology.type_of(name)
        if kind is None:
            raise ChannelError(f"NOT_FOUND - no exchange {name!r}", (50, 20), "Channel.queue_bind", "404")
        self.topology.declare(bindings=[(queue, name, routing_key)])
        if kind == "fanout":
            self.topology.bind_fanout(queue, name, is_new=self.declarations.is_transient(queue))
        self.declarations.bindings.add((queue, name, routing_key))
        self.declarations.exchanges[name] = kind

    def queue_unbind(self, queue: str, exchange: str | None = None, routing_key: str = "", **_: Any) -> None:
        binding = (queue, exchange or "amq.direct", routing_key)
        self.topology.unbind([binding])
        self.declarations.bindings.discard(binding)

    def queue_delete(self, queue: str, if_unused: bool = False, if_empty: bool = False, **_: Any) -> None:
        if not (if_empty and self.topology.size(queue)):
            self.topology.delete_queue(queue)
            self.declarations.forget_queue(queue)

    def queue_purge(self, queue: str, **_: Any) -> int:
        return self.topology.purge(queue)

    def get_table(self, exchange: str) -> list[tuple[str, None, str]]:
        """Return the bindings of *exchange* in the form of kombu's tables."""
        return [(routing_key, None, queue) for queue, _, routing_key in self.topology.bindings(exchange)]

    def _size(self, queue: str) -> int:
        return self.topology.size(queue)
