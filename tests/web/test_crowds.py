"""Many clients at once on gunicorn as in production: held requests, incomplete requests, disconnected clients."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import gevent
import pytest
import requests
from werkzeug.exceptions import RequestTimeout

from avtomatika.web import gunicorn_worker

REPOSITORY = Path(__file__).parents[2]
TOKEN = "token-of-the-operator-of-the-crowd"
BLUEPRINT = """
from avtomatika import Blueprint

bp = Blueprint(name="hello", api_endpoint="jobs/hello")

@bp.handler(is_start=True, is_end=True)
def greet():
    return "hello"
"""
#: Five times what a request may take while others wait.
SOON_SECONDS = 0.5


class Web:
    """A gunicorn with one process and the project's configuration."""

    def __init__(self, folder: Path, redis_url: str, *options: str, **environment: str) -> None:
        (folder / "blueprints").mkdir(exist_ok=True)
        (folder / "blueprints" / "hello.py").write_text(BLUEPRINT)
        fixed = {"PYTHONPATH": str(REPOSITORY), "REDIS_URL": redis_url, "CLIENT_TOKEN": TOKEN, "LOG_FORMAT": "text"}
        command = [sys.executable, "-m", "gunicorn", "-c", "python:avtomatika.cli.gunicorn_config"]
        self.process = subprocess.Popen(
            [*command, "avtomatika.web.wsgi:create()", "--bind", "127.0.0.1:0", "--workers", "1", *options],
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", **fixed, **environment},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: list[str] = []
        assert self.process.stderr is not None
        found = (re.search(r"Listening at: http://127.0.0.1:(\d+)", self._line(line)) for line in self.process.stderr)
        self.port = int(next(match for match in found if match)[1])
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.sockets: list[socket.socket] = []
        until(self.is_ready, 30)

    def _line(self, line: str) -> str:
        self.log.append(line)
        return line

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._line(line)

    def send(self, text: str) -> socket.socket:
        """A connection on which *text* was sent."""
        self.sockets.append(socket.create_connection(("127.0.0.1", self.port), 10))
        self.sockets[-1].sendall(text.encode())
        return self.sockets[-1]

    def get(self, path: str) -> socket.socket:
        return self.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nX-Client-Token: {TOKEN}\r\n\r\n")

    def half(self) -> socket.socket:
        """A connection on which half the head of a request was sent."""
        return self.send("POST /api/v1/jobs/hello HTTP/1.1\r\nHost: x\r\nContent-Le")

    def request(self, method: str, path: str, **options: Any) -> tuple[int, float, requests.Response]:
        """Status, seconds and the response."""
        began = monotonic()
        url, headers = f"http://127.0.0.1:{self.port}{path}", {"X-Client-Token": TOKEN}
        response = requests.request(method, url, headers=headers, timeout=20, **options)
        return response.status_code, monotonic() - began, response

    def is_ready(self) -> bool:
        try:
            return self.request("GET", "/readyz")[0] == 200
        except requests.ConnectionError:
            return False

    def job(self) -> str:
        """A job that nobody moves on."""
        status, _, response = self.request("POST", "/api/v1/jobs/hello", json={"initial_data": {}})
        assert status == 202, response.text
        return str(response.json()["job_id"])

    def leave(self) -> None:
        for each in self.sockets:
            each.close()
        self.sockets.clear()

    def stop(self) -> None:
        self.leave()
        self.process.terminate()
        self.process.wait(15)
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def serve(tmp_path: Path, redis_url: str) -> Iterator[Callable[..., Web]]:
    """``serve("--keep-alive", "1", WEB_MAX_WAITING="10")``"""
    started: list[Web] = []

    def serve(*options: str, **environment: str) -> Web:
        started.append(Web(tmp_path, redis_url, *options, **environment))
        return started[-1]

    yield serve
    for web in started:
        web.stop()


def status_of(connection: socket.socket) -> str:
    """The status code of the answer that comes on *connection*, "" where it is closed without one."""
    try:
        return connection.recv(12)[9:12].decode()
    except OSError:
        return ""


def until(condition: Callable[[], bool], seconds: float = 10) -> float:
    began = monotonic()
    while not condition():
        assert monotonic() - began < seconds, "it did not become true in time"
        sleep(0.02)
    return monotonic() - began


def test_many_that_wait_and_many_that_send_half_keep_nobody_waiting(serve: Callable[..., Web]) -> None:
    web = serve()
    job_id = web.job()

    streams = [web.get(f"/api/v1/jobs/{job_id}/events") for _ in range(200)]
    for _ in range(200):
        web.get(f"/api/v1/jobs/{job_id}?wait=20")
        web.half()
    assert {status_of(stream) for stream in streams} == {"200"}
    asked = [web.request("POST", "/api/v1/jobs/hello", json={"initial_data": {}}) for _ in range(5)]
    asked += [web.request("GET", "/readyz") for _ in range(5)]

    assert [status for status, _, _ in asked] == [202] * 5 + [200] * 5
    assert sorted(seconds for _, seconds, _ in asked)[5] < SOON_SECONDS


def test_places_of_clients_that_left_are_free(serve: Callable[..., Web]) -> None:
    web = serve(WEB_MAX_WAITING="20", WEB_CLIENT_SHARE="1")
    job_id = web.job()
    held = [web.get(f"/api/v1/jobs/{job_id}/events") for _ in range(10)]
    assert {status_of(each) for each in held} == {"200"}

    def is_full() -> bool:
        return web.request("GET", f"/api/v1/jobs/{job_id}?wait=0.1")[0] == 503

    while not is_full():
        web.get(f"/api/v1/jobs/{job_id}?wait=20")
    web.leave()

    assert until(lambda: not is_full()) < 5


def test_one_client_has_only_its_share(serve: Callable[..., Web], tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    path.write_text('[alice]\ntoken = "token-of-alice-0123456789"\n')
    path.chmod(0o600)
    web = serve(WEB_MAX_WAITING="4", WEB_CLIENT_SHARE="0.5")
    job_id = web.job()
    held = [web.get(f"/api/v1/jobs/{job_id}/events") for _ in range(2)]
    assert {status_of(each) for each in held} == {"200"}

    status, _, response = web.request("GET", f"/api/v1/jobs/{job_id}?wait=1")

    assert (status, response.json()["code"]) == (429, "too_many_requests")
    assert int(response.headers["Retry-After"]) > 0
    alice = requests.post(
        f"http://127.0.0.1:{web.port}/api/v1/jobs/hello",
        json={"initial_data": {}},
        headers={"X-Client-Token": "token-of-alice-0123456789"},
        timeout=10,
    ).json()["job_id"]
    waited = requests.get(
        f"http://127.0.0.1:{web.port}/api/v1/jobs/{alice}?wait=0.1",
        headers={"X-Client-Token": "token-of-alice-0123456789"},
        timeout=10,
    )
    assert waited.status_code == 200


def test_a_head_that_does_not_come_is_not_waited_for(serve: Callable[..., Web]) -> None:
    web = serve("--keep-alive", "1")
    half = web.half()

    assert until(lambda: status_of(half) == "", 10) < 5


def test_beyond_the_connections_the_oldest_half_request_goes(serve: Callable[..., Web]) -> None:
    web = serve("--worker-connections", "100")
    first = web.half()
    for _ in range(120):
        web.half()

    status, seconds, _ = web.request("GET", "/readyz")

    assert status == 200
    assert seconds < SOON_SECONDS * 2
    first.settimeout(5)
    assert status_of(first) == ""


def test_who_waits_does_not_hold_up_the_end(serve: Callable[..., Web]) -> None:
    web = serve()
    job_id = web.job()
    stream = web.get(f"/api/v1/jobs/{job_id}/events")
    assert status_of(stream) == "200"
    wait = web.get(f"/api/v1/jobs/{job_id}?wait=25")
    assert web.request("GET", "/readyz")[0] == 200  # by then the other one has been accepted

    web.process.send_signal(signal.SIGTERM)

    assert status_of(wait) == "200"
    assert web.process.wait(10) == 0


def test_gunicorn_and_gevent_warn_of_nothing(serve: Callable[..., Web]) -> None:
    web = serve()
    web.job()

    assert not [line for line in web.log if "MonkeyPatchWarning" in line]


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gunicorn_worker, "BODY_SECONDS", 0.05)

    class Dripping:
        def read(self, size: int) -> bytes:
            gevent.sleep(10)
            return b"x"

    worker = object.__new__(gunicorn_worker.Worker)
    worker._receiving = {}

    with pytest.raises(RequestTimeout):
        gunicorn_worker._TimedBody(Dripping(), worker).read(10)
    assert not worker._receiving
