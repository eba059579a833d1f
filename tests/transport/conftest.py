"""Connections through the transport with short leases, closed after each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest
import redis
from kombu import Connection, Consumer, Exchange, Queue

from avtomatika.transport import Channel

from ..support.servers import in_shards

if TYPE_CHECKING:
    from .flow import Flow

#: Lease of tests that wait for one.
LEASE_SECONDS = 1.0


@dataclass
class Reading:
    """A consumer that records messages and does not acknowledge them."""

    connection: Connection
    channel: Channel
    consumer: Consumer
    got: list[Any] = field(default_factory=list)

    @property
    def bodies(self) -> list[Any]:
        return [message.payload for message in self.got]

    def drain(self, seconds: float = 0) -> list[Any]:
        """Return the messages of one drain; none on timeout."""
        before = len(self.got)
        try:
            self.connection.drain_events(timeout=seconds)
        except TimeoutError:
            return []
        return self.got[before:]

    def wait_for(self, count: int, seconds: float = 10) -> list[Any]:
        """Drain until *count* messages were received."""
        deadline = monotonic() + seconds
        while len(self.got) < count:
            assert monotonic() < deadline, f"only {len(self.got)} of {count} messages came"
            self.drain(0.1)
        return self.got

    def drain_until(self, done: Callable[[], object], seconds: float = 10) -> None:
        """Consume until *done* returns true."""
        deadline = monotonic() + seconds
        while not done():
            assert monotonic() < deadline, "it did not come to that in time"
            self.drain(0.05)


class Bench:
    """Connections to one server, and helpers to read and write its queues."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        self.url = url
        self.stack = stack
        self.redis = stack.enter_context(redis.Redis.from_url(url, decode_responses=True))

    def connect(self, **options: Any) -> Connection:
        defaults = {
            "lease_seconds": LEASE_SECONDS,
            "visibility_timeout": LEASE_SECONDS,  # only leases count
            "sweep_interval_seconds": 0.1,
            "max_retries": 1,
            "interval_start": 0,
        }
        options = defaults | options
        url = in_shards(self.url, len(options.get("prefixes", ())) or options.get("spread", 1)).removeprefix("redis+")
        connection = Connection(url, transport="avtomatika.transport:Transport", transport_options=options)
        return self.stack.enter_context(connection)

    def channel(self, **options: Any) -> Channel:
        return self.connect(**options).channel()

    def queue(self, name: str = "tasks", key: str | None = None, exchange: str = "work", kind: str = "direct") -> Queue:
        """Declare a queue bound to *exchange* by *key* (default: its name)."""
        queue = Queue(name, Exchange(exchange, kind), routing_key=name if key is None else key)
        with self.connect() as connection, connection.channel() as channel:
            queue(channel).declare()
        return queue

    def publish(self, *bodies: Any, key: str = "tasks", exchange: str = "work", **properties: Any) -> None:
        if "content_type" not in properties:
            properties["serializer"] = "json"
        with self.connect() as connection, connection.Producer() as producer:
            for body in bodies:
                producer.publish(body, exchange=exchange, routing_key=key, **properties)

    def read(self, *queues: str, prefetch: int = 100, no_ack: bool = False, **options: Any) -> Reading:
        connection = self.connect(**options)
        channel = connection.channel()
        got: list[Any] = []
        consumer = Consumer(
            channel,
            [Queue(name, no_declare=True) for name in queues or ("tasks",)],
            on_message=got.append,
            accept=["json"],
            no_ack=no_ack,
        )
        consumer.qos(prefetch_count=prefetch)
        consumer.consume()
        return Reading(connection, channel, consumer, got)

    def beat(self) -> None:
        """Write a current heartbeat, so that leases can be reclaimed immediately."""
        with self.connect() as connection, connection.channel() as channel:
            run = self.redis.info("server")["run_id"]
            seconds, microseconds = self.redis.time()
            now = seconds * 1000 + microseconds // 1000
            self.redis.hset(channel.router.keys.beat, mapping={"at": now, "run": run, "resume": 0})

    def dead(self, queue: str = "tasks") -> list[dict[str, str]]:
        return [fields for _, fields in self.redis.xrange(f"{{avt.g0}}:q:{queue}:dead")]

    def dead_reasons(self, queue: str = "tasks") -> list[str]:
        return [fields[b"reason"].decode() for fields in self._dead_bytes(queue)]

    def dead_payloads(self, queue: str = "tasks") -> list[bytes]:
        return [fields[b"p"] for fields in self._dead_bytes(queue)]

    def _dead_bytes(self, queue: str) -> list[dict[bytes, bytes]]:
        with redis.Redis.from_url(self.url) as client:
            return [fields for _, fields in client.xrange(f"{{avt.g0}}:q:{queue}:dead")]

    def left(self, queue: str = "tasks", level: int = 0) -> int:
        """Return the entries of a queue, including unacknowledged ones."""
        return int(self.redis.xlen(f"{{avt.g0}}:q:{queue}:{level}"))


@pytest.fixture
def bench(redis_url: str) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(redis_url, stack)


@pytest.fixture
def flow(bench: Bench, redis_url: str) -> Iterator[Flow]:
    from .flow import running_flow  # it uses this module

    with running_flow(bench, redis_url) as flow:
        yield flow


@pytest.fixture
def make_bench() -> Iterator[Callable[[str], Bench]]:
    """Make benches on servers of the test."""
    with ExitStack() as stack:
        yield lambda url: Bench(url, stack)
