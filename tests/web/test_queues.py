"""``/api/v1/queues`` and ``/api/v1/dead-letters``: for operators, without signatures and tickets."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from flask.testing import FlaskClient

from avtomatika import broker
from avtomatika.client import Client
from avtomatika.core.blueprint.action_types import DispatchTask, GoTo
from avtomatika.core.job import Job
from avtomatika.errors import ForbiddenError, NotFoundError

from ..support.waiting import wait_until
from .conftest import OPERATOR_TOKEN, created_id, problem

Move = Callable[..., Job]


@pytest.fixture
def job_id(alice: FlaskClient, move: Move, redis_url: str) -> str:
    """A job whose task is a dead letter."""
    job_id = created_id(alice)
    move(GoTo("encode"), DispatchTask("encode", {"n": 1}, transitions={"success": "publish"}))
    with broker.connect(redis_url) as connection:
        intake = broker.Consumer(connection, ["encode"], prefetch=1)
        [delivery] = wait_until(lambda: intake.take(0.05))
        intake.dead_letter(delivery, reason="max_deliveries", error="it kills its worker")
        intake.close()
    return job_id


@pytest.fixture
def api(url: str) -> Iterator[Client]:
    with Client(url, OPERATOR_TOKEN) as client:
        yield client


def test_queues_and_dead_letters_are_for_operators(alice: FlaskClient, anybody: FlaskClient) -> None:
    for method, path in (
        ("GET", "queues"),
        ("GET", "queues/encode/messages"),
        ("DELETE", "queues/encode/messages"),
        ("POST", "queues/encode/pause"),
        ("POST", "queues/encode/resume"),
        ("GET", "doctor"),
        ("GET", "overview"),
        ("GET", "dead-letters"),
        ("GET", "dead-letters/encode:1-0"),
        ("POST", "dead-letters/encode:1-0/requeue"),
        ("DELETE", "dead-letters/encode:1-0"),
    ):
        problem(alice.open(f"/api/v1/{path}", method=method), 403, "forbidden")
        problem(anybody.open(f"/api/v1/{path}", method=method), 401, "unauthorized")


def test_queues_have_figures(operator: FlaskClient, job_id: str) -> None:
    queues = {queue["name"]: queue for queue in operator.get("/api/v1/queues").json["queues"]}

    assert (queues["encode"]["dead"], queues["encode"]["waiting"]) == (1, 0)
    assert "avt.timers" in queues


def test_a_dead_letter_tells_what_it_was_and_why_and_nothing_to_act_with(operator: FlaskClient, job_id: str) -> None:
    [letter] = operator.get("/api/v1/dead-letters").json["dead_letters"]

    assert letter == operator.get(f"/api/v1/dead-letters/{letter['id']}").json
    assert (letter["queue"], letter["kind"], letter["job_id"]) == ("encode", "task", job_id)
    assert (letter["reason"], letter["error"]) == ("max_deliveries", "it kills its worker")
    assert letter["body"]["params"] == {"n": 1}
    assert {"ticket", "origin_sig"} & letter["body"].keys() == set()


def test_a_dead_letter_is_put_back_or_dropped_once(operator: FlaskClient, job_id: str) -> None:
    [letter] = operator.get("/api/v1/dead-letters?queue=encode&limit=1").json["dead_letters"]
    path = f"/api/v1/dead-letters/{letter['id']}"

    assert operator.post(f"{path}/requeue").json["id"] == letter["id"]

    [encode] = [queue for queue in operator.get("/api/v1/queues").json["queues"] if queue["name"] == "encode"]
    assert (encode["dead"], encode["waiting"]) == (0, 1)
    problem(operator.post(f"{path}/requeue"), 404, "not_found")
    problem(operator.delete(path), 404, "not_found")


def test_the_client_looks_after_them_too(api: Client, url: str, job_id: str) -> None:
    [letter] = api.dead_letters(queue="encode")
    api.drop_dead_letter(letter["id"])

    assert api.dead_letters() == []
    assert "encode" in [queue["name"] for queue in api.queues()]
    with pytest.raises(NotFoundError):
        api.requeue_dead_letter(letter["id"])
    with Client(url, "token-of-alice-in-tests") as alice, pytest.raises(ForbiddenError):
        alice.queues()


def test_the_messages_of_a_queue_are_listed_and_removed(operator: FlaskClient, job_id: str, api: Client) -> None:
    [letter] = api.dead_letters()
    api.requeue_dead_letter(letter["id"])

    [message] = operator.get("/api/v1/queues/encode/messages?limit=5").json["messages"]
    assert (message["job_id"], message["kind"]) == (job_id, "task")
    assert "ticket" not in message["body"]
    assert api.messages("encode") == [message]
    assert api.purge("encode") == 1
    assert api.messages("encode") == []
    problem(operator.get("/api/v1/queues/encod/messages"), 404, "not_found")
    problem(operator.delete("/api/v1/queues/encod/messages"), 404, "not_found")
    problem(operator.get("/api/v1/queues/encode/messages?limit=201"), 422, "invalid_request")


def test_a_job_in_a_paused_queue_waits_until_it_is_resumed(
    operator: FlaskClient, job_id: str, api: Client, redis_url: str
) -> None:
    [letter] = api.dead_letters()
    api.requeue_dead_letter(letter["id"])

    paused = api.pause_queue("encode")
    with broker.connect(redis_url) as connection:
        intake = broker.Consumer(connection, ["encode"], prefetch=1)
        taken = intake.take(0.3)
        problems = [each for each in api.overview()["problems"] if each["kind"] == "queue_paused"]
        [reason] = [each for each in api.why(job_id)["reasons"] if each["code"] == "queue_paused"]
        resumed = api.resume_queue("encode")
        delivered = wait_until(lambda: intake.take(0.05))
        intake.close()

    assert (paused["paused_by"], paused["waiting"], taken) == ("operator", 1, [])
    assert [(each["subject"], each["count"]) for each in problems] == [("encode", 1)]
    assert reason["text"].startswith("The queue 'encode' has been paused since 20")
    assert reason["text"].endswith(" UTC, by 'operator'. Resume it.")
    assert (resumed["paused_at"], len(delivered)) == (None, 1)
    problem(operator.post("/api/v1/queues/encod/pause"), 404, "not_found")
    problem(operator.post("/api/v1/queues/encod/resume"), 404, "not_found")


def test_a_dead_letter_is_shown_by_its_id(job_id: str, api: Client) -> None:
    [letter] = api.dead_letters()

    assert api.dead_letter(letter["id"]) == letter
    with pytest.raises(NotFoundError):
        api.dead_letter("encode:1-1")


def test_the_doctor_checks_what_the_web_sees(api: Client) -> None:
    found = {each["subject"]: each["state"] for each in api.doctor()}

    assert (found["server"], found["SECRET_KEY"]) == ("ok", "warning")
