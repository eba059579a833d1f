"""The app on a real server, three clients, and a fixture that moves jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from avtomatika import Blueprint, F, broker, transport
from avtomatika.broker import Consumer
from avtomatika.core.blueprint.action_types import Action
from avtomatika.core.job import Job
from avtomatika.core.machine import decisions, machine, single_task
from avtomatika.core.rules import Rules
from avtomatika.schemas import wire
from avtomatika.store import Cause, Commit, Store
from avtomatika.tokens import Clients
from avtomatika.web.api import control
from avtomatika.web.app import create_app

from ..support.waiting import wait_until

#: The operator's token; ``clients`` writes the tokens of alice and bob to a file.
OPERATOR_TOKEN = "operators-own-token"

video = Blueprint(name="video", api_endpoint="jobs/video")


@video.handler(is_start=True)
def start(actions: Any) -> None:
    actions.go_to("encode")


@video.handler("encode", F.initial_data["quality"] == "low")
def encode_low(actions: Any) -> None:
    actions.go_to("publish")


@video.handler
def encode(actions: Any) -> None:
    actions.dispatch_task("encode", {}, transitions={"success": "publish", "failure": "failed"})


@video.handler(is_end=True)
def publish() -> None: ...


@video.handler(is_end="failed")
def failed() -> None: ...


nightly = Blueprint(name="nightly")


@nightly.handler(is_start=True, is_end=True)
def sweep() -> None: ...


PLANS = (video.plan, nightly.plan)


@pytest.fixture
def declare(redis_url: str) -> Callable[..., None]:
    """Declare the plans and the queues of skills."""

    def declare(*skills: str) -> None:
        with broker.connect(redis_url) as connection:
            broker.declare(connection, [*PLANS, single_task.PLAN])
            broker.declare_tasks(connection, skills)

    return declare


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that control a job wait for it only briefly: the test itself decides after the request."""
    monkeypatch.setattr(control, "_WAIT_SECONDS", 0.1)


@pytest.fixture
def store(redis_url: str, declare: Callable[[], None]) -> Iterator[Store]:
    declare()
    store = Store.connect(redis_url)
    yield store
    store.close()


@pytest.fixture
def clients(tmp_path: Path) -> Clients:
    path = tmp_path / "clients.toml"
    path.write_text(
        '[alice]\ntoken = "token-of-alice-in-tests"\nplan = "gold"\n[bob]\ntoken = "token-of-bob-in-tests"\n'
    )
    path.chmod(0o600)
    return Clients(token=OPERATOR_TOKEN, path=path)


@pytest.fixture
def app(store: Store, clients: Clients, declare: Callable[[], None]) -> Flask:
    return create_app(store=store, plans=PLANS, clients=clients, declare=declare)


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    """The URL of *app* on a real socket."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def url(app: Flask) -> Iterator[str]:
    with serving(app) as url:
        yield url


@pytest.fixture
def anybody(app: Flask) -> FlaskClient:
    """A client without a token."""
    return app.test_client()


@pytest.fixture
def operator(app: Flask) -> FlaskClient:
    return _with_token(app, OPERATOR_TOKEN)


@pytest.fixture
def alice(app: Flask) -> FlaskClient:
    return _with_token(app, "token-of-alice-in-tests")


@pytest.fixture
def bob(app: Flask) -> FlaskClient:
    return _with_token(app, "token-of-bob-in-tests")


@pytest.fixture
def move(redis_url: str, store: Store) -> Iterator[Callable[..., Job]]:
    """``move(action, action)``: take the next step message of any job and decide so; answers the job after that.
    ``move(raised="Boom")``: the handler fails, and the job ends with an error.
    """
    connection, server = broker.connect(redis_url), transport.RedisClient.connect(redis_url)
    intake = Consumer(connection, video.plan.queues, prefetch=1)
    committing = Store(server, intake.channel.router)
    store.plans.announce([f"video@{video.plan.plan_hash}"])

    def move(*actions: Action, raised: str = "") -> Job:
        delivery = _next(intake)
        event = wire.load_event(delivery.body)
        before = store.load(event.job_id)
        assert before is not None
        step = machine.advance(video.plan, before, event, queue=delivery.queue)
        for action in actions:
            rules = Rules(plans={"video": video.plan})
            decided = decisions.decide(video.plan, step.job, action, queue=delivery.queue, patch={}, rules=rules)
            step = step.then(decided)
        if raised:
            step = step.then(decisions.handler_raised(video.plan, step.job, error=raised, retry_limit=0))
        [reply] = committing.commit([Commit(before, step, (Cause(delivery.tag, event.id),))])
        assert reply.answer == "OK"
        intake.release([delivery.tag])
        return step.job

    yield move
    intake.close()
    server.close()
    connection.close()


def created_id(client: FlaskClient, **body: Any) -> str:
    """Create a job of ``video`` and answer its id."""
    response = client.post("/api/v1/jobs/video", json=body)
    assert response.status_code == 202, response.text
    return str(response.json["job_id"])


def problem(response: TestResponse, status: int, code: str) -> dict[str, Any]:
    """The problem that *response* tells, which must have *status* and *code*."""
    assert response.content_type == "application/problem+json"
    body: dict[str, Any] = response.json
    assert (response.status_code, body["status"], body["code"]) == (status, status, code), body
    assert body["type"] == "about:blank"
    assert body["title"]
    return body


def _with_token(app: Flask, token: str) -> FlaskClient:
    client = app.test_client()
    client.environ_base["HTTP_X_CLIENT_TOKEN"] = token
    return client


def _next(intake: Consumer) -> Any:
    [delivery] = wait_until(lambda: intake.take(0.05), what="a step message")
    return delivery
