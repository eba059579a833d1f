"""Many clients wait while the server pauses, dies and comes back: the web recovers without a restart."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from ..support.waiting import wait_until
from ..support.web import WebServer, status_of

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

STREAMS, WAITS, HALVES = 300, 200, 200
PAUSE_SECONDS = 5.0


@pytest.fixture
def web(tmp_path: Path, own_server: Any) -> Iterator[WebServer]:
    web = WebServer(tmp_path, {"REDIS_URL": own_server.url}, "--workers", "1")
    wait_until(web.is_ready, 30)
    yield web
    web.kill()


def crowd(web: WebServer, job_id: str) -> None:
    """Clients that follow a job, wait for it, or send half a request."""
    streams = [web.connections.get(f"/api/v1/jobs/{job_id}/events") for _ in range(STREAMS)]
    for _ in range(WAITS):
        web.connections.get(f"/api/v1/jobs/{job_id}?wait=25")
    for _ in range(HALVES):
        web.connections.half()
    assert {status_of(stream) for stream in streams} == {"200"}


def serves(web: WebServer) -> bool:
    """Return True if jobs can be created and the process is ready."""
    created = web.request("POST", "/api/v1/jobs/hello", json={"initial_data": {}})[0]
    return (created, web.request("GET", "/readyz")[0]) == (202, 200)


def paused(server: Any) -> None:
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        signal.sigtimedwait([], PAUSE_SECONDS)
    finally:
        os.kill(pid, signal.SIGCONT)


def restarted(server: Any) -> None:
    server.kill()
    server.start()


@pytest.mark.parametrize("trouble", [paused, restarted])
def test_a_crowd_that_waits_leaves_no_trace(web: WebServer, own_server: Any, trouble: Callable[[Any], None]) -> None:
    job_id = web.create_job()
    for _ in range(2):
        crowd(web, job_id)
        trouble(own_server)
        wait_until(lambda: serves(web), 30)
        web.connections.close()

    wait_until(lambda: serves(web), 30)
    with redis.Redis.from_url(own_server.url) as client:
        wait_until(lambda: int(client.info("clients")["connected_clients"]) <= 4, 10)
    assert "Traceback" not in web.log
