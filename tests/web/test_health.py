from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from avtomatika import broker
from avtomatika.store import JobFilter, Store
from avtomatika.tokens import Clients
from avtomatika.web.app import create_app

from .conftest import OPERATOR_TOKEN, PLANS, created_id, problem


def test_health_needs_no_token(anybody: FlaskClient) -> None:
    assert anybody.get("/livez").json == {"status": "alive"}
    assert anybody.get("/_public/status").json["service"] == "avtomatika"


def test_readiness_names_the_level_of_persistence(anybody: FlaskClient) -> None:
    ready = anybody.get("/readyz").json

    assert ready["status"] == "ready"
    assert ready["persistence"] == "everysec"
    assert ready["server"]
    assert ready["eviction"] == "noeviction"
    assert ready["warnings"] == []


def test_readiness_names_a_file_with_tokens_that_is_not_in_effect(
    store: Store, declare: Callable[[], None], tmp_path: Path
) -> None:
    path, times = tmp_path / "clients.toml", count()
    path.write_text('[alice]\ntoken = "token-of-alice-in-tests"\n')
    path.chmod(0o600)
    clients = Clients(path=path, clock=lambda: float(next(times)))
    app = create_app(store=store, plans=PLANS, clients=clients, declare=declare)
    path.write_text("")

    assert app.test_client().get("/readyz").json["warnings"] == ["clients.toml"]


class Away:
    """The app of a server that is killed and comes back."""

    def __init__(self, server: Any, clients: Clients) -> None:
        self.server = server
        self.store = Store.connect(server.url)
        self.app: Flask = create_app(store=self.store, plans=PLANS, clients=clients, declare=self.declare)
        self.operator = self.app.test_client()
        self.operator.environ_base["HTTP_X_CLIENT_TOKEN"] = OPERATOR_TOKEN

    def declare(self) -> None:
        with broker.connect(self.server.url) as connection:
            broker.declare(connection, PLANS)


@pytest.fixture
def away(own_server: Any, clients: Clients) -> Any:
    away = Away(own_server, clients)
    yield away
    away.store.close()


def test_while_the_server_is_away_everything_says_so_and_nothing_is_half_made(away: Away) -> None:
    job_id = created_id(away.operator)
    away.server.kill()

    responses = [
        away.operator.post("/api/v1/jobs/video", json={}),
        away.operator.get("/api/v1/jobs"),
        away.operator.get(f"/api/v1/jobs/{job_id}"),
        away.operator.get(f"/api/v1/jobs/{job_id}/history"),
        away.operator.get("/readyz"),
    ]

    for response in responses:
        body = problem(response, 503, "unavailable")
        assert body["detail"] == "the job server is unavailable; retry later"
        assert response.headers["Retry-After"] == "2"
    assert away.operator.get("/livez").status_code == 200
    away.server.start()
    jobs, _ = away.store.list_jobs(JobFilter())
    assert [job.id for job in jobs] in ([job_id], [])  # the disk may lag behind by a second


@pytest.mark.parametrize("path", ["/", "/login", "/jobs", "/login/key-of-a-link"])
def test_pages_say_so_too(away: Away, path: str) -> None:
    away.server.stop()

    response = away.app.test_client().get(path)

    assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
    assert "The job server is unavailable; retry later." in response.text


def test_when_the_server_is_back_so_is_the_app(away: Away) -> None:
    away.server.stop()
    problem(away.operator.get("/readyz"), 503, "unavailable")

    away.server.start()

    assert away.operator.get("/readyz").json["status"] == "ready"
    created_id(away.operator)


def test_a_server_that_is_nearly_full_takes_no_new_jobs(make_server: Callable[..., Any], clients: Clients) -> None:
    away = Away(make_server(maxmemory="1mb", **{"maxmemory-policy": "noeviction"}), clients)

    response = away.operator.post("/api/v1/jobs/video", json={})

    away.store.close()
    body = problem(response, 503, "unavailable")
    assert "memory" in body["detail"]
    assert response.headers["Retry-After"] == "10"


def test_it_is_not_ready_while_new_jobs_are_refused(make_server: Callable[..., Any], clients: Clients) -> None:
    away = Away(make_server(), clients)
    with redis.Redis.from_url(away.server.url) as client:
        assert away.operator.get("/readyz").status_code == 200
        client.config_set("maxmemory", int(client.info("memory")["used_memory"] * 1.1))

        body = problem(away.operator.get("/readyz"), 503, "unavailable")
        assert "memory" in body["detail"]

        client.config_set("maxmemory", 0)
        assert away.operator.get("/readyz").status_code == 200
    away.store.close()
