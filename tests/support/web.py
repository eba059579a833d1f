"""The HTTP API under gunicorn, as in production."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from time import monotonic
from typing import Any

import requests

from .ports import free_port
from .processes import Process

TOKEN = "planted-client-token"
#: Configuration of the project, as a user passes it to gunicorn.
GUNICORN = (sys.executable, "-m", "gunicorn", "-c", "python:avtomatika.cli.gunicorn_config")
BLUEPRINT = """
from avtomatika import Blueprint

bp = Blueprint(name="hello", api_endpoint="jobs/hello")

@bp.handler(is_start=True, is_end=True)
def greet():
    return "hello"
"""


class RawConnections:
    """TCP connections to a server on which a test writes single requests, or parts of them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sockets: list[socket.socket] = []

    def send(self, text: str) -> socket.socket:
        self._sockets.append(socket.create_connection(("127.0.0.1", self._port), 10))
        self._sockets[-1].sendall(text.encode())
        return self._sockets[-1]

    def get(self, path: str) -> socket.socket:
        return self.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nX-Client-Token: {TOKEN}\r\n\r\n")

    def half(self) -> socket.socket:
        """Send half of the headers of a request."""
        return self.send("POST /api/v1/jobs/hello HTTP/1.1\r\nHost: x\r\nContent-Le")

    def close(self) -> None:
        for each in self._sockets:
            each.close()
        self._sockets.clear()


class WebServer:
    """A gunicorn with the blueprint ``hello``, at a port that it keeps over ``kill`` and ``start``."""

    def __init__(self, folder: Path, environ: dict[str, str], *options: str) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        (folder / "blueprints").mkdir(parents=True, exist_ok=True)
        (folder / "blueprints" / "hello.py").write_text(BLUEPRINT)
        self.folder = folder
        self._options = options
        self._environ = environ if (folder / ".env").exists() else {"CLIENT_TOKEN": TOKEN, **environ}
        self.connections = RawConnections(self.port)
        self.start()

    def start(self) -> None:
        command = (*GUNICORN, "avtomatika.web.wsgi:create()", "--bind", self.address, *self._options)
        self.process = Process(command, self.folder, self._environ, log=self.folder / "web.log")
        self.process.wait_for_log("Booting worker")

    @property
    def log(self) -> str:
        return self.process.log

    def request(self, method: str, path: str, **options: Any) -> tuple[int, float, requests.Response]:
        """Return the status, the seconds until the response, and the response."""
        began = monotonic()
        headers = {"X-Client-Token": TOKEN}
        response = requests.request(method, f"http://{self.address}{path}", headers=headers, timeout=20, **options)
        return response.status_code, monotonic() - began, response

    def is_ready(self) -> bool:
        try:
            return self.request("GET", "/readyz")[0] == 200
        except requests.ConnectionError:
            return False

    def create_job(self) -> str:
        """Return a new job, which no orchestrator advances."""
        status, _, response = self.request("POST", "/api/v1/jobs/hello", json={"initial_data": {}})
        assert status == 202, response.text
        return str(response.json()["job_id"])

    def kill(self) -> None:
        self.connections.close()
        self.process.kill()


def status_of(connection: socket.socket) -> str:
    """Return the status code of the response on *connection*, "" if it is closed without one."""
    try:
        return connection.recv(12)[9:12].decode()
    except OSError:
        return ""
