"""Many clients at once on gunicorn as in production: held requests, incomplete requests, disconnected clients."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
import requests
from werkzeug.exceptions import RequestTimeout

from avtomatika.web import gunicorn_worker

from ..support.waiting import wait_until
from ..support.web import WebServer, status_of

#: Five times the time limit of a request while others wait.
SOON_SECONDS = 0.5


@pytest.fixture
def serve(tmp_path: Path, redis_url: str) -> Iterator[Callable[..., WebServer]]:
    """``serve("--keep-alive", "1", WEB_MAX_WAITING="10")``"""
    started: list[WebServer] = []

    def serve(*options: str, **environment: str) -> WebServer:
        started.append(WebServer(tmp_path, {"REDIS_URL": redis_url, **environment}, "--workers", "1", *options))
        wait_until(started[-1].is_ready, 30)
        return started[-1]

    yield serve
    for web in started:
        web.kill()


def test_many_that_wait_and_many_that_send_half_keep_nobody_waiting(serve: Callable[..., WebServer]) -> None:
    web = serve()
    job_id = web.create_job()

    streams = [web.connections.get(f"/api/v1/jobs/{job_id}/events") for _ in range(200)]
    for _ in range(200):
        web.connections.get(f"/api/v1/jobs/{job_id}?wait=20")
        web.connections.half()
    assert {status_of(stream) for stream in streams} == {"200"}
    asked = [web.request("POST", "/api/v1/jobs/hello", json={"initial_data": {}}) for _ in range(5)]
    asked += [web.request("GET", "/readyz") for _ in range(5)]

    assert [status for status, _, _ in asked] == [202] * 5 + [200] * 5
    assert sorted(seconds for _, seconds, _ in asked)[5] < SOON_SECONDS


def test_places_of_clients_that_left_are_free(serve: Callable[..., WebServer]) -> None:
    web = serve(WEB_MAX_WAITING="20", WEB_CLIENT_SHARE="1")
    job_id = web.create_job()
    held = [web.connections.get(f"/api/v1/jobs/{job_id}/events") for _ in range(10)]
    assert {status_of(each) for each in held} == {"200"}
    for _ in range(10):
        web.connections.get(f"/api/v1/jobs/{job_id}?wait=20")

    def is_full() -> bool:
        return web.request("GET", f"/api/v1/jobs/{job_id}?wait=0.1")[0] == 503

    while not is_full():  # this request had the place of one of the others, which was refused
        web.connections.get(f"/api/v1/jobs/{job_id}?wait=20")
    web.connections.close()

    wait_until(lambda: not is_full(), 5)


def test_one_client_has_only_its_share(serve: Callable[..., WebServer], tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    path.write_text('[alice]\ntoken = "token-of-alice-0123456789"\n')
    path.chmod(0o600)
    web = serve(WEB_MAX_WAITING="4", WEB_CLIENT_SHARE="0.5")
    job_id = web.create_job()
    held = [web.connections.get(f"/api/v1/jobs/{job_id}/events") for _ in range(2)]
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


def test_a_head_that_does_not_come_is_not_waited_for(serve: Callable[..., WebServer]) -> None:
    web = serve("--keep-alive", "1")
    half = web.connections.half()

    wait_until(lambda: status_of(half) == "", 5)


def test_beyond_the_connections_the_oldest_half_request_goes(serve: Callable[..., WebServer]) -> None:
    web = serve("--worker-connections", "100")
    first = web.connections.half()
    for _ in range(120):
        web.connections.half()

    status, seconds, _ = web.request("GET", "/readyz")

    assert status == 200
    assert seconds < SOON_SECONDS * 2
    first.settimeout(5)
    assert status_of(first) == ""


def test_who_waits_does_not_hold_up_the_end(serve: Callable[..., WebServer]) -> None:
    web = serve()
    job_id = web.create_job()
    stream = web.connections.get(f"/api/v1/jobs/{job_id}/events")
    assert status_of(stream) == "200"
    wait = web.connections.get(f"/api/v1/jobs/{job_id}?wait=25")
    assert web.request("GET", "/readyz")[0] == 200  # by then the other one has been accepted

    web.process.send_signal(signal.SIGTERM)

    assert status_of(wait) == "200"
    assert web.process.process.wait(10) == 0


def test_gunicorn_and_gevent_warn_of_nothing(serve: Callable[..., WebServer]) -> None:
    web = serve()
    web.create_job()

    assert "MonkeyPatchWarning" not in web.log


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
