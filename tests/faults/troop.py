"""The processes of an installation, started by the CLI, to be killed and restarted."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep

import requests

from avtomatika.client import Client

HERE = Path(__file__).parent
#: The processes' signing secret.
SECRET_KEY = "secret-of-the-storm"


class Troop:
    """Orchestrator, worker and web over one server. Their output goes to files in *folder*.

    *blueprint* is a module of this folder with a blueprint and a ``worker``.
    """

    def __init__(
        self,
        url: str,
        folder: Path,
        *,
        blueprint: str = "three",
        orchestrator: list[str] | None = None,
        **environment: str,
    ) -> None:
        self._folder = folder
        self._port = _free_port()
        self.token = "token-of-the-storm"
        self._env = {
            **os.environ,
            "AVTOMATIKA_PARENT": str(os.getpid()),
            "REDIS_URL": url,
            "BLUEPRINTS": blueprint,
            "PYTHONPATH": str(HERE),
            "SECRET_KEY": SECRET_KEY,
            "CLIENT_TOKEN": self.token,
            "API_PORT": str(self._port),
            "WORKER_LEASE_SECONDS": "2",
            "WORKER_ID": "storm",
            **environment,
        }
        program = str(Path(sys.executable).with_name("avtomatika"))
        self._commands = {
            "orchestrator": orchestrator or [program, "orchestrator"],
            "worker": [program, "worker", f"{blueprint}:worker"],
            "web": [program, "web"],
        }
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._clients = ExitStack()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Troop:
        try:
            for role in self._commands:
                self.start(role)
            self._wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait_until_ready(self) -> None:
        deadline = monotonic() + 30
        while monotonic() < deadline:
            try:
                if requests.get(f"{self.base_url}/readyz", timeout=2).ok:
                    return
            except requests.RequestException:
                sleep(0.1)
        raise AssertionError("the web process did not come up")

    def client(self) -> Client:
        """Return a new client of the web process, which is closed with the installation."""
        return self._clients.enter_context(Client(self.base_url, self.token))

    def __exit__(self, *_: object) -> None:
        self._clients.close()
        for role in list(self._children):
            self.kill(role)

    def also(self, role: str, *, like: str, **environment: str) -> None:
        """Start another process with the same role."""
        self._commands[role] = self._commands[like]
        self.start(role, **environment)

    def start(self, role: str, **environment: str) -> None:
        with open(self._folder / f"{role}.log", "ab") as log:
            self._children[role] = subprocess.Popen(
                self._commands[role], env=self._env | environment, stdout=log, stderr=log, start_new_session=True
            )

    def alive(self) -> set[str]:
        """The roles whose process is alive."""
        return {role for role, child in self._children.items() if child.poll() is None}

    def pid(self, role: str) -> int:
        return self._children[role].pid

    def kill(self, role: str, *, is_alone: bool = False) -> None:
        """Send SIGKILL to the process and, unless *is_alone*, to its children."""
        child = self._children.pop(role)
        (os.kill if is_alone else os.killpg)(child.pid, signal.SIGKILL)
        child.wait()

    def stop(self, role: str) -> int:
        """Send SIGTERM to the process; return its exit code."""
        child = self._children.pop(role)
        child.terminate()
        return child.wait(timeout=60)

    def revive(self, role: str) -> None:
        """Restart a process that has ended."""
        if self._children[role].poll() is not None:
            self.start(role)

    def restart(self, role: str, **environment: str) -> None:
        self.kill(role)
        self.start(role, **environment)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
