"""The processes of an installation, started by the CLI, to be killed and restarted."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import requests

from avtomatika.client import Client

from .ports import free_port
from .processes import AVTOMATIKA, Process
from .waiting import wait_until

#: Folder of the modules with blueprints and workers.
PROGRAMS = Path(__file__).parents[1] / "faults"
#: The processes' signing secret.
SECRET_KEY = "secret-of-the-storm"


class Installation:
    """Orchestrator, worker and web over one server. Their output goes to files in *folder*.

    *blueprint* is a module of ``tests/faults`` with a blueprint and a ``worker``.
    """

    def __init__(
        self,
        url: str,
        folder: Path,
        *,
        blueprint: str = "three",
        orchestrator: Sequence[str] | None = None,
        **environment: str,
    ) -> None:
        self._folder = folder
        self._port = free_port()
        self.token = "token-of-the-storm"
        self._env = {
            "REDIS_URL": url,
            "BLUEPRINTS": blueprint,
            "PYTHONPATH": str(PROGRAMS),
            "SECRET_KEY": SECRET_KEY,
            "CLIENT_TOKEN": self.token,
            "API_PORT": str(self._port),
            "WORKER_LEASE_SECONDS": "2",
            "WORKER_ID": "storm",
            **environment,
        }
        self._commands = {
            "orchestrator": orchestrator or [*AVTOMATIKA, "orchestrator"],
            "worker": [*AVTOMATIKA, "worker", f"{blueprint}:worker"],
            "web": [*AVTOMATIKA, "web"],
        }
        self._processes: dict[str, Process] = {}
        self._clients = ExitStack()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Installation:
        try:
            for role in self._commands:
                self.start(role)
            wait_until(lambda: is_ready(self.base_url), 30, "the web process is ready")
        except BaseException:
            self.__exit__()
            raise
        return self

    def client(self) -> Client:
        """Return a new client of the web process, which is closed with the installation."""
        return self._clients.enter_context(Client(self.base_url, self.token))

    def __exit__(self, *_: object) -> None:
        self._clients.close()
        for role in list(self._processes):
            self.kill(role)

    def also(self, role: str, *, like: str, **environment: str) -> None:
        """Start another process with the same role."""
        self._commands[role] = self._commands[like]
        self.start(role, **environment)

    def start(self, role: str, **environment: str) -> None:
        log = self._folder / f"{role}.log"
        self._processes[role] = Process(self._commands[role], self._folder, self._env | environment, log=log)

    def alive(self) -> set[str]:
        """Return the roles whose process is running."""
        return {role for role, process in self._processes.items() if process.is_running}

    def pid(self, role: str) -> int:
        return self._processes[role].pid

    def kill(self, role: str, *, is_alone: bool = False) -> None:
        """Send SIGKILL to the process and, unless *is_alone*, to its children."""
        process = self._processes.pop(role)
        if is_alone:
            process.end(signal.SIGKILL)
        else:
            process.kill()

    def stop(self, role: str) -> int:
        """Send SIGTERM to the process; return its exit code."""
        return self._processes.pop(role).end(within_seconds=60)

    def revive(self, role: str) -> None:
        """Restart a process that has ended."""
        if not self._processes[role].is_running:
            self.start(role)

    def restart(self, role: str, **environment: str) -> None:
        self.kill(role)
        self.start(role, **environment)


def is_ready(base_url: str) -> bool:
    """Return True if the web process there can serve requests."""
    try:
        return requests.get(f"{base_url}/readyz", timeout=2).ok
    except requests.RequestException:
        return False
