"""A browser without scripts, Chromium, and jobs of every kind."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
import redis
import requests
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from avtomatika import broker
from avtomatika.core.blueprint.action_types import AwaitApproval, DispatchTask, End, GoTo, Wait
from avtomatika.core.job import Job
from avtomatika.store import Store

from ...support.browser import running_chromium
from ...support.waiting import wait_until
from ..conftest import OPERATOR_TOKEN, created_id

if TYPE_CHECKING:
    from playwright.sync_api import Browser

DATA = {"title": "A film", "tags": ["short", "new"], "length": 90.5, "is_public": True, "owner": None}


@pytest.fixture
def browser(app: Flask) -> FlaskClient:
    """A client that is not logged in: no token in a header, but cookies."""
    return app.test_client()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def jobs(operator: FlaskClient, move: Callable[..., Job], store: Store, redis_url: str) -> dict[str, str]:
    """Ids of jobs by what became of them. There are a worker, a message in a queue and a dead letter, too."""

    def job(name: str, *actions: object, **how: str) -> None:
        made[name] = created_id(operator, initial_data=DATA, labels={"kind": name})
        move(*actions, **how)

    made: dict[str, str] = {}
    task = DispatchTask("encode", DATA, transitions={"success": "publish", "failure": "failed"})
    job("finished", GoTo("encode"), End({"url": "https://example.org/film"}))
    job("broken", raised="Traceback (most recent call last):\n  File x\nValueError: <no> codec")
    job("asking", GoTo("encode"), AwaitApproval("mail", "Publish?", {"approved": "publish", "rejected": "failed"}))
    job("waiting", GoTo("encode"), Wait("publish", seconds=600))
    job("dead", GoTo("encode"), task)
    job("queued", GoTo("encode"), task)
    with broker.connect(redis_url) as connection:
        intake = broker.Consumer(connection, ["encode"], prefetch=1)
        [delivery] = wait_until(lambda: intake.take(0.05))
        intake.dead_letter(delivery, reason="max_deliveries", error="it kills its worker")
        intake.close()
    store.registry.register("worker-1", {"skills": [{"name": "encode"}], "version": "1.2", "concurrency": 4})
    links = [{"address": "redis://localhost", "state": "in_use"}]
    store.registry.beat("worker-1", {"status": "busy", "running": 2, "links": links})
    return made


def login_link(url: str, page: str, token: str = OPERATOR_TOKEN) -> str:
    """A link that logs in once, and opens *page* of the installation at *url*."""
    headers = {"X-Client-Token": token}
    return str(
        requests.post(f"{url}/api/v1/login-links", json={"page": page}, headers=headers, timeout=20).json()["url"]
    )


def log_in(browser: FlaskClient, token: str) -> TestResponse:
    csrf_token = hidden(browser.get("/login"), "csrf_token")
    return browser.post("/login", data={"token": token, "csrf_token": csrf_token})


def hidden(response: TestResponse, name: str) -> str:
    """The (first) hidden field called *name*."""
    found = re.search(rf'type="hidden" name="{name}" value="([^"]*)"', response.text)
    assert found is not None, response.text
    return html.unescape(found[1])


def sent_again(text: str) -> dict[str, list[str]]:
    """The hidden fields of the last form of a page."""
    form = text.rpartition("<form")[2]
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r'type="hidden" name="([^"]*)" value="([^"]*)"', form):
        found.setdefault(name, []).append(value)
    return found


def round_trips(redis_url: str, call: Callable[[], object]) -> int:
    """Return how often the server reads from its clients during *call*: a pipeline or a script counts once."""
    with redis.Redis.from_url(redis_url) as server:
        server.ping()
        before = server.info("stats")["total_reads_processed"]
        call()
        return int(server.info("stats")["total_reads_processed"]) - before - 1
