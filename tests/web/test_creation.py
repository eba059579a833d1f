from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient

from avtomatika import Blueprint, broker
from avtomatika.core.job import JobStatus
from avtomatika.errors import BlueprintError
from avtomatika.store import JobFilter, Store
from avtomatika.tokens import Clients
from avtomatika.web.app import create_app

from .conftest import OPERATOR_TOKEN, PLANS, created_id, problem, video


def test_a_job_is_accepted_and_says_where_it_can_be_seen(alice: FlaskClient) -> None:
    response = alice.post("/api/v1/jobs/video", json={"initial_data": {"path": "/a"}})

    assert response.status_code == 202
    assert response.json == {"status": "accepted", "job_id": response.json["job_id"]}
    assert response.headers["Location"] == f"/api/v1/jobs/{response.json['job_id']}"
    assert alice.get(response.headers["Location"]).status_code == 200


def test_a_job_is_stored_as_it_was_asked_for(alice: FlaskClient, store: Store) -> None:
    job_id = created_id(
        alice,
        initial_data={"path": "/a", "sizes": [1, 2.5, None], "naïve": "ключ"},
        priority=7,
        labels={"team": "blue sky"},
        webhook_url="https://example.org/hook?x=1",
        dispatch_timeout=60,
        result_timeout=1.5,
        fairness_key="north/7",
    )

    job = store.load(job_id)
    assert job is not None
    assert (job.blueprint, job.status, job.client) == ("video", JobStatus.PENDING, "alice")
    assert job.initial_data == {"path": "/a", "sizes": [1, 2.5, None], "naïve": "ключ"}
    assert (job.priority, job.labels) == (7, {"team": "blue sky"})
    assert job.webhook_url == "https://example.org/hook?x=1"
    assert job.fairness_key == "north/7"
    assert (job.dispatch_timeout_seconds, job.result_timeout_seconds) == (60, 1.5)


def test_an_empty_object_is_enough(alice: FlaskClient, store: Store) -> None:
    job = store.load(created_id(alice))

    assert job is not None
    assert (job.initial_data, job.priority, job.labels, job.webhook_url) == ({}, 0, {}, None)


def test_a_body_without_content_type_is_taken_for_json(alice: FlaskClient) -> None:
    assert alice.post("/api/v1/jobs/video", data=b"{}").status_code == 202


def test_the_same_idempotency_key_answers_the_same_job(alice: FlaskClient, store: Store) -> None:
    first, second = (
        alice.post("/api/v1/jobs/video", json={"initial_data": {"n": 1}}, headers={"Idempotency-Key": "order-1"})
        for _ in range(2)
    )

    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json == second.json
    assert len(store.list_jobs(JobFilter())[0]) == 1


def test_an_idempotency_key_with_another_body_is_a_conflict(alice: FlaskClient) -> None:
    headers = {"Idempotency-Key": "order-1"}
    alice.post("/api/v1/jobs/video", json={"initial_data": {"n": 1}}, headers=headers)

    response = alice.post("/api/v1/jobs/video", json={"initial_data": {"n": 2}}, headers=headers)

    assert "'order-1' was used with another body" in problem(response, 409, "conflict")["detail"]


def test_idempotency_keys_of_two_clients_do_not_meet(alice: FlaskClient, bob: FlaskClient) -> None:
    headers = {"Idempotency-Key": "order-1"}

    ids = {client.post("/api/v1/jobs/video", json={}, headers=headers).json["job_id"] for client in (alice, bob)}

    assert len(ids) == 2


class TestBatch:
    def test_many_jobs_are_created_at_once_in_their_order(self, alice: FlaskClient, store: Store) -> None:
        jobs = [{"initial_data": {"n": n}, "priority": n % 10} for n in range(1000)]

        response = alice.post("/api/v1/jobs/video/batch", json={"jobs": jobs})

        assert response.status_code == 202
        assert response.json["status"] == "accepted"
        stored = [job for job in store.load_many(response.json["job_ids"]) if job is not None]
        assert [(job.initial_data["n"], job.priority) for job in stored] == [(n, n % 10) for n in range(1000)]
        assert store.count("pending") == 1000

    def test_one_that_does_not_fit_leaves_none(self, alice: FlaskClient, store: Store) -> None:
        response = alice.post("/api/v1/jobs/video/batch", json={"jobs": [{}, {"priority": 11}]})

        assert problem(response, 422, "invalid_request")["errors"] == {
            "jobs": {"1": {"priority": ["must be 0 to 9; higher is sooner"]}}
        }
        assert store.count("pending") == 0

    @pytest.mark.parametrize("body", [{}, {"jobs": []}, {"jobs": [{}] * 1001}, {"jobs": {}}, {"jobs": [7]}])
    def test_what_is_no_batch_is_refused(self, alice: FlaskClient, body: Any) -> None:
        problem(alice.post("/api/v1/jobs/video/batch", json=body), 422, "invalid_request")

    def test_the_same_idempotency_key_answers_the_same_jobs(self, alice: FlaskClient, store: Store) -> None:
        def ask(*numbers: int) -> Any:
            body = {"jobs": [{"initial_data": {"n": n}} for n in numbers]}
            return alice.post("/api/v1/jobs/video/batch", json=body, headers={"Idempotency-Key": "order-1"})

        first, second = ask(1, 2), ask(1, 2)

        assert first.json == second.json
        assert len(first.json["job_ids"]) == 2
        assert store.count("pending") == 2
        problem(ask(1, 3), 409, "conflict")


@pytest.mark.parametrize("key", ["", "x" * 256, "two words", "é"])
def test_an_idempotency_key_must_be_plain_text(alice: FlaskClient, key: str) -> None:
    response = alice.post("/api/v1/jobs/video", json={}, headers={"Idempotency-Key": key})

    body = problem(response, 422, "invalid_request")
    assert body["errors"] == {"Idempotency-Key": ["must be 1 to 255 ASCII characters without spaces"]}


def test_a_blueprint_that_nobody_declared_is_declared(
    redis_url: str, clients: Clients, declare: Callable[[], None], store: Store
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    app = create_app(store=store, plans=PLANS, clients=clients, declare=declare)

    response = app.test_client().post("/api/v1/jobs/video", json={}, headers={"X-Client-Token": OPERATOR_TOKEN})

    assert response.status_code == 202


def test_a_blueprint_that_cannot_be_declared_is_unavailable(redis_url: str, clients: Clients, store: Store) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    app = create_app(store=store, plans=PLANS, clients=clients, declare=_nothing)

    response = app.test_client().post("/api/v1/jobs/video", json={}, headers={"X-Client-Token": OPERATOR_TOKEN})

    assert problem(response, 503, "no_route")["detail"].startswith("the broker does not know this blueprint yet")
    assert response.headers["Retry-After"] == "2"
    assert store.list_jobs(JobFilter()) == ([], None)


@pytest.mark.parametrize(
    ("path", "detail", "near"),
    [
        ("/api/v1/jobs/vidoe", "no job endpoint 'vidoe'; did you mean 'video'?", ["video"]),
        ("/api/v1/jobs/nightly", "no job endpoint 'nightly'", None),
        (
            "/api/v2/jobs/video",
            "no path '/api/v2/jobs/video'; did you mean '/api/v1/jobs/video'",
            ["/api/v1/jobs/video", "/api/v1/jobs/video/batch", "/api/v1/jobs/actions"],
        ),
    ],
)
def test_an_endpoint_that_no_blueprint_has_is_unknown(
    alice: FlaskClient, path: str, detail: str, near: list[str] | None
) -> None:
    body = problem(alice.post(path, json={}), 404, "not_found")

    assert body["detail"].startswith(detail)
    assert body.get("near") == near


def test_an_endpoint_may_be_deep_and_of_another_version(redis_url: str, store: Store, clients: Clients) -> None:
    plan = _ending_at_once("deep", api_version="v2", api_endpoint="media/video/encode").plan
    with broker.connect(redis_url) as connection:
        broker.declare(connection, [plan])
    app = create_app(store=store, plans=[plan], clients=clients, declare=_nothing)

    response = app.test_client().post("/api/v2/media/video/encode", json={}, headers={"X-Client-Token": OPERATOR_TOKEN})

    assert response.status_code == 202


def test_two_blueprints_cannot_have_one_endpoint(store: Store, clients: Clients) -> None:
    twin = _ending_at_once("twin", api_endpoint="jobs/video")

    with pytest.raises(BlueprintError, match=r"'twin': .* is already the endpoint of the blueprint 'video'"):
        create_app(store=store, plans=[video.plan, twin.plan], clients=clients, declare=_nothing)


def test_two_blueprints_cannot_have_one_name(store: Store, clients: Clients) -> None:
    with pytest.raises(BlueprintError, match="two blueprints have this name"):
        create_app(store=store, plans=[video.plan, video.plan], clients=clients, declare=_nothing)


def _nothing() -> None: ...


def _ending_at_once(name: str, **endpoint: Any) -> Blueprint:
    blueprint = Blueprint(name, **endpoint)

    @blueprint.handler(is_start=True, is_end=True)
    def only() -> None: ...

    return blueprint


def test_a_start_before_1970_is_now(alice: FlaskClient) -> None:
    response = alice.post("/api/v1/tasks/encode", json={"at": "1066-10-14T09:00:00Z"})

    assert response.status_code == 202


def test_a_job_with_the_same_unique_key_is_returned_or_refused(alice: FlaskClient, bob: FlaskClient) -> None:
    first = created_id(alice, unique_key="order-1")

    assert created_id(alice, unique_key="order-1") == first
    body = problem(post(alice, {"unique_key": "order-1", "on_conflict": "reject"}), 409, "conflict")
    assert body["detail"] == f"job {first} with the same unique key has not ended"
    queued = created_id(alice, unique_key="order-1", on_conflict="queue")
    assert len({first, queued, created_id(bob, unique_key="order-1")}) == 3
    assert alice.get(f"/api/v1/jobs/{queued}").json["unique_key"] == "order-1"
    reasons = alice.get(f"/api/v1/jobs/{queued}/why").json["reasons"]
    assert [each["facts"]["earlier"] for each in reasons if each["code"] == "waits_for_unique_key"] == [[first]]


@pytest.mark.parametrize(
    "body", [{"on_conflict": "queue"}, {"unique_key": ""}, {"unique_key": "k", "on_conflict": "x"}]
)
def test_a_unique_key_that_is_none_is_refused(alice: FlaskClient, body: dict[str, str]) -> None:
    problem(post(alice, body), 422, "invalid_request")


def post(client: FlaskClient, body: dict[str, str]) -> Any:
    return client.post("/api/v1/jobs/video", json=body)
