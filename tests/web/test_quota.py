"""Monthly quotas of clients."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from avtomatika.core.blueprint.action_types import End, GoTo
from avtomatika.core.job import JobStatus
from avtomatika.store import JobFilter, Store
from avtomatika.store.creation import Quota
from avtomatika.tokens import Clients
from avtomatika.web.app import create_app

from .conftest import OPERATOR_TOKEN, PLANS, problem

JOBS = "/api/v1/jobs/video"


@pytest.fixture
def clients(tmp_path: Path) -> Clients:
    path = tmp_path / "clients.toml"
    path.write_text(
        '[alice]\ntoken = "token-of-alice-in-tests"\nmonthly_attempts = 3\n'
        '[bob]\ntoken = "token-of-bob-in-tests"\nmonthly_attempts = 0\n'
    )
    path.chmod(0o600)
    return Clients(token=OPERATOR_TOKEN, path=path)


def pending(store: Store) -> int:
    return store.count(JobStatus.PENDING)


def test_after_the_last_one_the_answer_says_when_it_renews(alice: FlaskClient, store: Store) -> None:
    for _ in range(3):
        assert alice.post(JOBS, json={}).status_code == 202
    response = alice.post(JOBS, json={})
    body = problem(response, 429, "quota_exceeded")

    now = datetime.now(UTC)
    renews = Quota.of(3, now=now).renews
    assert body["renews_at"] == f"{renews:%Y-%m-%dT00:00:00.000Z}"
    assert (body["limit"], body["created"]) == (3, 3)
    assert body["detail"] == f"3 of 3 jobs a month have been created; it renews at {renews:%Y-%m-%d} 00:00 UTC"
    assert abs(int(response.headers["Retry-After"]) - (renews - now).total_seconds()) < 60
    assert pending(store) == 3


def test_nought_is_none_and_no_number_is_no_limit(bob: FlaskClient, operator: FlaskClient) -> None:
    problem(bob.post(JOBS, json={}), 429, "quota_exceeded")
    assert all(operator.post(JOBS, json={}).status_code == 202 for _ in range(5))


def test_a_batch_that_does_not_fit_creates_none_and_counts_none(alice: FlaskClient, store: Store) -> None:
    alice.post(JOBS, json={})

    body = problem(alice.post(f"{JOBS}/batch", json={"jobs": [{}] * 3}), 429, "quota_exceeded")
    fitting = alice.post(f"{JOBS}/batch", json={"jobs": [{}] * 2})

    assert body["detail"].startswith("1 of 3 jobs a month have been created, and 3 more were asked for;")
    assert fitting.status_code == 202
    assert pending(store) == 3


def test_asking_again_with_the_same_key_is_not_counted(alice: FlaskClient, store: Store) -> None:
    for _ in range(5):
        assert alice.post(JOBS, json={}, headers={"Idempotency-Key": "a"}).status_code == 202
    for _ in range(2):
        assert alice.post(f"{JOBS}/batch", json={"jobs": [{}] * 2}, headers={"Idempotency-Key": "b"}).status_code == 202

    assert pending(store) == 3
    problem(alice.post(JOBS, json={}), 429, "quota_exceeded")
    assert alice.post(JOBS, json={}, headers={"Idempotency-Key": "a"}).status_code == 202


def test_what_is_refused_for_other_reasons_is_not_counted(alice: FlaskClient, store: Store) -> None:
    for _ in range(5):
        problem(alice.post(JOBS, json={"priority": 11}), 422, "invalid_request")

    assert [alice.post(JOBS, json={}).status_code for _ in range(4)] == [202, 202, 202, 429]


def test_a_job_that_is_done_again_counts_for_its_client(
    alice: FlaskClient, operator: FlaskClient, store: Store, move: Any
) -> None:
    for _ in range(3):
        alice.post(JOBS, json={})
    job = move(GoTo("encode"), GoTo("failed"), End())

    problem(operator.post(f"/api/v1/jobs/{job.id}/retry"), 429, "quota_exceeded")


def test_many_at_once_get_no_more_than_one_after_the_other(app: Flask, store: Store) -> None:
    def ask(_: int) -> int:
        client = app.test_client()
        return client.post(JOBS, json={}, headers={"X-Client-Token": "token-of-alice-in-tests"}).status_code

    with ThreadPoolExecutor(8) as pool:
        answers = sorted(pool.map(ask, range(24)))

    assert answers == [202] * 3 + [429] * 21
    assert len(store.list_jobs(JobFilter(client="alice"))[0]) == 3


def test_the_count_goes_with_its_month(alice: FlaskClient, redis_url: str) -> None:
    alice.post(JOBS, json={})

    quota = Quota.of(3, now=datetime.now(UTC))
    with redis.Redis.from_url(redis_url) as server:
        assert server.get(f"{{avt.g0}}:quota:alice:{quota.month}") == b"1"
        assert server.expiretime(f"{{avt.g0}}:quota:alice:{quota.month}") == round(quota.renews.timestamp())


def test_the_limit_is_that_of_the_file_as_it_is_now(store: Store, declare: Any, tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    clock = iter(range(0, 1000, 10))
    path.write_text('[alice]\ntoken = "token-of-alice-in-tests"\nmonthly_attempts = 0\n')
    path.chmod(0o600)
    clients = Clients(token=OPERATOR_TOKEN, path=path, clock=lambda: next(clock))
    client = create_app(store=store, plans=PLANS, clients=clients, declare=declare).test_client()
    headers = {"X-Client-Token": "token-of-alice-in-tests"}
    before = client.post(JOBS, json={}, headers=headers).status_code
    fresh = path.with_name("fresh")
    fresh.write_text('[alice]\ntoken = "token-of-alice-in-tests"\nmonthly_attempts = 10\n')
    fresh.replace(path)

    assert (before, client.post(JOBS, json={}, headers=headers).status_code) == (429, 202)
