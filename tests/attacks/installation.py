"""An installation under attack: web, orchestrator and an honest worker on the broker, each a process.

The tests act as workers over HTTP and as attackers, with nothing but what these have.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import redis
import requests
from requests.adapters import HTTPAdapter

from avtomatika import Blueprint, broker
from avtomatika.broker import Consumer, Outgoing
from avtomatika.loading import load_blueprints

from ..support.ports import free_port
from ..support.processes import AVTOMATIKA, Process
from ..support.waiting import wait_until

#: Secrets that may appear only where the test put them.
PLANTED = {
    "client": "planted-token-of-a-client-4dXw",
    "shared": "planted-token-of-all-workers-9sQz",
    "one": "planted-token-of-worker-one-Kq2v",
    "two": "planted-token-of-worker-two-T8rm",
    "honest": "planted-token-of-worker-honest-Zb7c",
    "bounded": "planted-token-of-worker-bounded-Vn3d",
    "secret": "planted-secret-of-the-group-Lw5n",
    "s3": "planted-secret-key-of-s3-Hg3p",
}
BLUEPRINTS = """
from avtomatika import Blueprint

ride = Blueprint("ride", api_endpoint="jobs/ride")

@ride.handler(is_start=True)
def start(actions):
    actions.dispatch_task("drive", {}, transitions={"success": "home", "failure": "ditch"}, max_retries=3)

@ride.handler(is_end=True)
def home(): ...

@ride.handler(is_end="failed")
def ditch(): ...

errand = Blueprint("errand", api_endpoint="jobs/errand")

@errand.handler(is_start=True)
def begin(actions):
    actions.dispatch_task("carry", {"n": 1}, transitions={"success": "ask", "failure": "lost"})

@errand.handler
def ask(actions):
    actions.await_human_approval("dashboard", "Keep it?", transitions={"approved": "kept", "rejected": "lost"})

@errand.handler(is_end=True)
def kept(): ...

@errand.handler(is_end="failed")
def lost(): ...
"""
WORKER = """
from avtomatika import Worker

worker = Worker()

@worker.skill()
def carry(params: dict) -> dict:
    return {"carried": params["n"]}
"""
WORKERS_TOML = "".join(f'[{name}]\ntoken = "{PLANTED[name]}"\n' for name in ("one", "two", "honest"))
WORKERS_TOML += f'[bounded]\ntoken = "{PLANTED["bounded"]}"\nskills = ["carry"]\n'
#: Lease of a task, and deadline of a test.
LEASE_SECONDS = 2
DEADLINE_SECONDS = 30.0


class Installation:
    """The processes run in *folder*, which holds their output."""

    def __init__(self, url: str, folder: Path) -> None:
        self.addresses = count(2)
        self.url = url
        self.folder = folder
        self.port = free_port()
        (folder / "blueprints").mkdir()
        (folder / "blueprints" / "work.py").write_text(BLUEPRINTS)
        (folder / "worker.py").write_text(WORKER)
        self.write_workers(WORKERS_TOML)
        self.redis = redis.Redis.from_url(url)
        self._processes: dict[str, Process] = {}
        #: Command lines of every process seen, by process id.
        self.command_lines: dict[int, str] = {}
        #: All responses.
        self.said: list[str] = []

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def write_workers(self, text: str) -> None:
        fresh = self.folder / "fresh"
        fresh.touch(mode=0o600)
        fresh.write_text(text)
        fresh.replace(self.folder / "workers.toml")

    def start(self) -> None:
        for role, more in {
            "web": {"API_PORT": str(self.port), "API_HOST": "127.0.0.1", "CLIENT_TOKEN": PLANTED["client"]},
            "orchestrator": {},
            "worker": {"WORKER_ID": "honest", "AVTOMATIKA_WORKER_TOKEN": PLANTED["honest"]},
        }.items():
            self._start(role, more)
        wait_until(lambda: self._is_ready() and None not in (self._stream("drive"), self._stream("carry")))

    def _start(self, role: str, more: Mapping[str, str]) -> None:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("S3_", "AVTOMATIKA_"))} | {
            "REDIS_URL": self.url,
            "SECRET_KEY": PLANTED["secret"],
            "WORKER_TOKEN": PLANTED["shared"],
            "WORKER_LEASE_SECONDS": str(LEASE_SECONDS),
            "LOG_LEVEL": "DEBUG",
            "S3_ENDPOINT_URL": "http://127.0.0.1:1",
            "S3_ACCESS_KEY": "access",
            "S3_SECRET_KEY": PLANTED["s3"],
            **more,
        }
        command = (*AVTOMATIKA, role)
        self._processes[role] = Process(command, self.folder, env, log=self.folder / f"{role}.log")

    def _is_ready(self) -> bool:
        try:
            return requests.get(f"{self.base_url}/readyz", timeout=2).ok
        except requests.RequestException:
            return False

    def _stream(self, task_type: str) -> bytes | None:
        return self.redis.hget("{avt.g0}:queues", task_type)  # type: ignore[return-value]

    def close(self) -> None:
        self.look_at_processes()
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.process.wait(DEADLINE_SECONDS)
            process.kill()
        self.redis.close()

    @property
    def are_all_alive(self) -> bool:
        return all(process.is_running for process in self._processes.values())

    def look_at_processes(self) -> None:
        """Record the command lines of all our processes and their children."""
        sessions = {process.pid for process in self._processes.values()}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdecimal():
                continue
            try:
                if os.getsid(int(folder.name)) in sessions:
                    self.command_lines[int(folder.name)] = (folder / "cmdline").read_bytes().decode()
            except (OSError, ProcessLookupError):
                continue

    # ------------------------------------------------------------ client

    def client(self, method: str, path: str, token: str = PLANTED["client"], **options: Any) -> requests.Response:
        headers = {"X-Client-Token": token}
        return self._ask(method, path, headers=headers, **options)

    def _ask(self, method: str, path: str, *, source: str = "127.0.0.1", **options: Any) -> requests.Response:
        with requests.Session() as session:
            session.mount("http://", _FromAddress(source))
            response = session.request(method, f"{self.base_url}{path}", timeout=DEADLINE_SECONDS, **options)
        self.said.append(f"{response.headers}\n{response.text}")
        return response

    def create(self, endpoint: str) -> str:
        response = self.client("POST", f"/api/v1/jobs/{endpoint}", json={"initial_data": {}})
        assert response.status_code == 202, response.text
        return str(response.json()["job_id"])

    def job(self, job_id: str) -> dict[str, Any]:
        job: dict[str, Any] = self.client("GET", f"/api/v1/jobs/{job_id}").json()
        return job

    def notes(self, job_id: str) -> list[dict[str, Any]]:
        notes: list[dict[str, Any]] = self.client("GET", f"/api/v1/jobs/{job_id}/history").json()["notes"]
        return notes

    def events(self, job_id: str) -> list[str]:
        answer = self.client("GET", f"/api/v1/jobs/{job_id}/history").json()
        return [event["event_type"] for event in answer["events"]]

    def until_status(self, job_id: str, status: str) -> dict[str, Any]:
        wait_until(lambda: self.job(job_id)["status"] == status)
        return self.job(job_id)

    # ------------------------------------------------------------ worker over HTTP

    def worker(self, worker_id: str, token: str | None = None) -> HttpWorker:
        return HttpWorker(self, worker_id, PLANTED[worker_id] if token is None else token)

    # ------------------------------------------------------------ attacker on the broker

    def blueprint(self, name: str) -> Blueprint:
        found = load_blueprints(str(self.folder / "blueprints"))
        return next(blueprint for blueprint in found if blueprint.name == name)

    def publish(self, exchange: str, key: str, body: str, **headers: Any) -> None:
        with broker.connect(self.url) as connection, connection.channel() as channel:
            channel.settle([Outgoing(exchange, key, body, headers=headers)], ())

    def take(self, queue: str) -> Any:
        """Consume and acknowledge the next message of *queue*."""
        with broker.connect(self.url) as connection:
            consumer = Consumer(connection, [queue], prefetch=1)
            deadline = monotonic() + DEADLINE_SECONDS
            while monotonic() < deadline:
                for delivery in consumer.take(0.2):
                    consumer.settle_many([((), [delivery.tag])])
                    consumer.close()
                    return delivery
        raise AssertionError(f"nothing came to {queue!r}")

    def dead_letters(self, blueprint: str) -> list[dict[str, str]]:
        key = f"{{avt.g0}}:q:{self.blueprint(blueprint).plan.main_queue}:dead"
        return [
            {name.decode(): value.decode() for name, value in fields.items()} for _, fields in self.redis.xrange(key)
        ]


class _FromAddress(HTTPAdapter):
    """Connects from *address*: the server limits invalid tokens by address, so workers must not share one."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, source_address=(self._address, 0), **options)


class HttpWorker:
    """Sends the requests of the SDK only."""

    def __init__(self, installation: Installation, worker_id: str, token: str) -> None:
        self.id = worker_id
        self._installation = installation
        self._address = f"127.0.0.{next(installation.addresses)}"
        self.headers = {"X-Worker-ID": worker_id, "X-Worker-Token": token}

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = self.headers | options.pop("headers", {})
        return self._installation._ask(method, f"/_worker{path}", headers=headers, source=self._address, **options)

    def register(self) -> requests.Response:
        body = {"worker_id": self.id, "worker_type": "t", "supported_skills": [{"name": "drive", "type": "drive"}]}
        return self.ask("POST", "/workers/register", json=body)

    def beat(self, *tasks: str) -> requests.Response:
        body = {"worker_id": self.id, "status": "idle", "current_tasks": list(tasks)}
        return self.ask("PATCH", f"/workers/{self.id}", json=body)

    def poll(self, timeout: float = 10, worker_id: str | None = None) -> requests.Response:
        query = {"timeout": str(timeout), "available_skills": "drive"}
        return self.ask("GET", f"/workers/{worker_id or self.id}/tasks/next", params=query)

    def take(self) -> dict[str, Any]:
        response = self.poll(20)
        assert response.status_code == 200, (response.status_code, response.text)
        task: dict[str, Any] = response.json()
        return task

    def result(self, task: Mapping[str, Any], **fields: Any) -> bytes:
        body = {"job_id": task["job_id"], "task_id": task["task_id"], "worker_id": self.id, "data": {}, **fields}
        return json.dumps(body).encode()

    def send(self, raw: bytes) -> requests.Response:
        return self.ask("POST", "/tasks/result", data=raw, headers={"Content-Type": "application/json"})

    def answer(self, task: Mapping[str, Any], **fields: Any) -> requests.Response:
        return self.send(self.result(task, **fields))


def raw_request(url: str, request: bytes) -> bytes:
    """Return the server's response to bytes that no HTTP library would send."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=DEADLINE_SECONDS) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer
