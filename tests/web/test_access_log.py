"""The access log of the web process: one line a request, without secrets."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from avtomatika.store import Store
from avtomatika.tokens import Clients
from avtomatika.web.app import create_app

from .conftest import PLANS, created_id


@pytest.fixture
def logging_client(store: Store, clients: Clients, declare: Callable[[], None]) -> FlaskClient:
    """A client of an app with an access log."""
    return create_app(store=store, plans=PLANS, clients=clients, declare=declare, access_log=True).test_client()


def messages(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Return level and message of the lines, without the duration."""
    lines = [record for record in caplog.records if record.name == "avtomatika.access"]
    return [(line.levelname, f"{line.message.partition(' in ')[0]} by {line.client}") for line in lines]  # type: ignore[attr-defined]


def test_each_request_is_one_line(logging_client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    alice = {"X-Client-Token": "token-of-alice-in-tests"}
    logging_client.get("/api/v1/jobs?limit=5", headers=alice)
    logging_client.post("/api/v1/jobs/video", headers={"X-Client-Token": "wrong-token-of-alice"})
    logging_client.get("/livez")
    logging_client.get("/no%0Asuch%1B[31m page?token=t")

    assert messages(caplog) == [
        ("INFO", "GET /api/v1/jobs 200 by alice"),
        ("INFO", "POST /api/v1/jobs/video 401 by -"),
        ("DEBUG", "GET /livez 200 by -"),
        ("INFO", "GET /no\\nsuch\\x1b[31m page 404 by -"),
    ]
    assert "token-of-alice" not in caplog.text


@pytest.mark.parametrize(("method", "path"), [("GET", "/login/one-time-key"), ("PUT", "/login/one-time-key")])
def test_the_key_of_a_login_link_is_not_logged(
    logging_client: FlaskClient, caplog: pytest.LogCaptureFixture, method: str, path: str
) -> None:
    caplog.set_level(logging.DEBUG)
    logging_client.open(path, method=method)

    [(_, message)] = messages(caplog)
    assert message.split()[1].endswith("/login/")
    assert "one-time" not in message


def test_without_the_setting_nothing_is_logged(alice: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    created_id(alice)

    assert messages(caplog) == []


@pytest.mark.parametrize("is_valid", [True, False])
def test_a_job_keeps_the_trace_of_its_caller(alice: FlaskClient, store: Store, is_valid: bool) -> None:
    context = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" if is_valid else "00-1-2-3"
    answer = alice.post("/api/v1/jobs/video", json={}, headers={"traceparent": context})

    job = store.load(answer.json["job_id"])
    assert job is not None
    assert job.traceparent == (context if is_valid else None)
