"""Restores a channel's declarations after FLUSHALL or a restart without persistence."""

from collections.abc import Collection

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
        self._exchanges = exchanges
        self._queues: dict[str, Limits | None] = {}
        self._bindings: set[Binding] = set()

    def add_exchange(self, exchange: str, kind: str) -> None:
        self._exchanges[exchange] = kind

    def add_queue(self, queue: str, limits: Limits | None) -> None:
        self._queues[queue] = limits

    def add_binding(self, binding: Binding, kind: str) -> None:
        self._bindings.add(binding)
        self._exchanges[binding[1]] = kind

    def is_transient(self, queue: str) -> bool:
        """Return whether *queue* serves a single consumer and starts empty for each."""
        limits = self._queues.get(queue)
        return limits is not None and limits.is_transient

    def forget_exchange(self, exchange: str) -> None:
        self._exchanges.pop(exchange, None)
        self._bindings = {binding for binding in self._bindings if binding[1] != exchange}

    def forget_queue(self, queue: str) -> None:
        self._queues.pop(queue, None)
        self._bindings = {binding for binding in self._bindings if binding[0] != queue}

    def forget_binding(self, binding: Binding) -> None:
        self._bindings.discard(binding)

    def restore_lost(self) -> bool:
        """Redeclare everything if the server has lost an exchange or a queue; return whether it had."""
        if not self._topology.lacks(self._exchanges.copy(), list(self._queues)):
            return False
        self._topology.declare(exchanges=self._exchanges.copy())
        self.restore(self._queues)
        return True

    def restore(self, queues: Collection[str]) -> None:
        """Redeclare *queues* with their limits, their bindings and the exchanges of these."""
        bindings = [binding for binding in self._bindings if binding[0] in queues]
        exchanges = {exchange: self._exchanges.get(exchange, "direct") for _, exchange, _ in bindings}
        self._topology.declare(exchanges=exchanges, queues=queues, bindings=bindings)
        self._expiry.set_limits({queue: limits for queue in queues if (limits := self._queues.get(queue))})
        for queue, exchange, _ in bindings:
            if exchanges[exchange] == "fanout":
                self._topology.bind_fanout(queue, exchange)
