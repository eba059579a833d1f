"""A fair queue, and the control of its limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kombu import Exchange, Queue

from avtomatika.transport import FlowControl, Inspector, RedisClient, Router, Topology

from .conftest import Bench, Reading


class Flow:
    """Publishes to fair queues, takes from them in order, and knows what the server keeps."""

    def __init__(self, bench: Bench, server: RedisClient) -> None:
        self.bench = bench
        self.router = Router(server)
        self.control = FlowControl(server, self.router)
        self.topology = Topology(server, self.router)
        self.inspector = Inspector(server, self.router)
        self.declare("tasks")

    def declare(self, *names: str, **arguments: Any) -> None:
        for name in names:
            queue = Queue(name, Exchange("work"), routing_key=name, queue_arguments={"x-fair": True} | arguments)
            with self.bench.connect() as connection, connection.channel() as channel:
                queue(channel).declare()

    def publish(
        self, key: str, *bodies: Any, limits: Sequence[Any] = (), queue: str = "tasks", **properties: Any
    ) -> None:
        headers = {"x-flow": {"key": key, "limits": list(limits)}, **properties.pop("headers", {})}
        self.bench.publish(*bodies, key=queue, headers=headers, **properties)

    def take(self, reading: Reading, count: int) -> list[Any]:
        """Take *count* messages one by one, acknowledging each; return their bodies."""
        bodies = []
        for _ in range(count):
            before = len(reading.got)
            [message] = reading.wait_for(before + 1)[before:]
            bodies.append(message.payload)
            message.ack()
        return bodies

    def start_turns(self) -> None:
        """Have the queue ``tasks`` taken in turns from now on."""
        self.bench.redis.hset(self.router.keys.queues, "tasks", "0xw")

    @property
    def traits(self) -> str:
        return str(self.bench.redis.hget(self.router.keys.queues, "tasks"))

    @property
    def keys_at_rest(self) -> set[str]:
        """The keys that the server keeps for flow control when nothing waits or runs."""
        kept = (":finish", ":flow:limits", ":flow:weights", ":flow:rates", ":dead", ":delays", ":delayed")
        found = self.bench.redis.keys("*:flow:*") + self.bench.redis.keys("*:q:*:*[a-z]")
        return {key for key in found if not key.endswith(kept)}


@contextmanager
def running_flow(bench: Bench, url: str) -> Iterator[Flow]:
    server = RedisClient.connect(url)
    yield Flow(bench, server)
    server.close()
