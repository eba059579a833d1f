"""The app as in production: gunicorn, configured by the environment."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from avtomatika.client import Client
from avtomatika.errors import UnauthorizedError

from ..support.processes import Process
from ..support.web import GUNICORN, WebServer


@pytest.fixture
def web(tmp_path: Path, redis_url: str) -> Iterator[WebServer]:
    (tmp_path / ".env").write_text("CLIENT_TOKEN='token-from-the-file'\nJOB_TTL_SECONDS=60\n")
    web = WebServer(tmp_path, {"REDIS_URL": redis_url}, "--workers", "2")
    yield web
    web.kill()


def test_a_job_is_created_and_shown_and_the_server_ends_on_sigterm(web: WebServer) -> None:
    with Client(f"http://{web.address}", "token-from-the-file") as client:
        job = client.job(client.submit("hello", {"n": 1})["job_id"])

    assert (job["status"], job["initial_data"]) == ("pending", {"n": 1})
    assert web.process.end(signal.SIGTERM, within_seconds=10) == 0


def test_a_wrong_token_is_refused(web: WebServer) -> None:
    with Client(f"http://{web.address}", "another") as client, pytest.raises(UnauthorizedError):
        client.blueprints()


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"REDIS_URL": "redis://127.0.0.1:1/0"}, "set CLIENT_TOKEN, or name clients in clients.toml"),
        ({"CLIENT_TOKEN": "token-of-operators"}, "REDIS_URL is not set"),
    ],
)
def test_without_a_client_or_a_server_it_does_not_start(
    tmp_path: Path, environment: dict[str, str], reason: str
) -> None:
    command = (*GUNICORN, "avtomatika.web.wsgi:create()", "--bind", "127.0.0.1:0")
    gunicorn = Process(command, tmp_path, environment, log=tmp_path / "log")

    assert gunicorn.process.wait(20) != 0
    assert reason in gunicorn.log


def test_the_files_of_a_job_that_is_cancelled_without_an_orchestrator_are_cleaned_up(
    tmp_path: Path, redis_url: str
) -> None:
    s3 = {"S3_ENDPOINT_URL": "http://127.0.0.1:1", "S3_ACCESS_KEY": "k", "S3_SECRET_KEY": "s", "S3_BUCKET": "films"}
    web = WebServer(tmp_path, {"REDIS_URL": redis_url, "S3_AUTO_CLEANUP": "delete", **s3})
    try:
        job_id = web.create_job()
        status, _, response = web.request("POST", f"/api/v1/jobs/{job_id}/cancel")
    finally:
        web.kill()

    assert (status, response.json()["status"]) == (200, "cancelled")
    with redis.Redis.from_url(redis_url) as client:
        timers = {name.decode() for name in client.zrange("{avt.g0}:timers", 0, -1)}
    assert timers == {f"{job_id}/_unfinished"}
