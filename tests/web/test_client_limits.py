"""Limits by client: requests in a window of time, and names of skills that have no queue."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from avtomatika import Client
from avtomatika.client import http
from avtomatika.core.rate_limit import RateLimit
from avtomatika.errors import RateLimitError, SettingsError
from avtomatika.store import Store
from avtomatika.tokens import Clients
from avtomatika.web.app import create_app

from .conftest import OPERATOR_TOKEN, PLANS, problem, serving

ALICE = "token-of-alice-in-tests"
#: Windows that do not end while a test runs.
DAY = RateLimit(3, 86_400)
MakeApp = Callable[..., Flask]


@pytest.fixture
def make_app(store: Store, clients: Clients, declare: Callable[..., None]) -> MakeApp:
    return lambda **limits: create_app(store=store, plans=PLANS, clients=clients, declare=declare, **limits)


def headers(token: str = ALICE) -> dict[str, str]:
    return {"X-Client-Token": token}


def test_requests_beyond_the_limit_are_refused_in_every_web_process(make_app: MakeApp) -> None:
    one, two = make_app(rate_limit=DAY).test_client(), make_app(rate_limit=DAY).test_client()
    answered = [each.get("/api/v1/jobs", headers=headers()) for each in (one, two, one)]

    refused = two.get("/api/v1/jobs", headers=headers())

    assert [each.status_code for each in answered] == [200] * 3
    assert [each.headers["RateLimit-Remaining"] for each in answered] == ["2", "1", "0"]
    assert "more than 3 requests in 86400 seconds" in problem(refused, 429, "rate_limit_exceeded")["detail"]
    assert 0 < int(refused.headers["Retry-After"]) <= 86_400
    assert refused.headers["RateLimit-Limit"] == "3"
    assert refused.headers["RateLimit-Reset"] == refused.headers["Retry-After"]
    assert two.get("/api/v1/jobs", headers=headers("token-of-bob-in-tests")).status_code == 200
    assert two.get("/livez").status_code == 200


def test_without_a_limit_nothing_is_counted(make_app: MakeApp, store: Store) -> None:
    response = make_app().test_client().get("/api/v1/jobs", headers=headers())

    assert "RateLimit-Limit" not in response.headers
    assert store.client_limits.count_request("alice", 0, seconds=1) == 1


def test_a_limit_in_clients_toml_applies_instead(make_app: MakeApp, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('[shop]\ntoken = "token-of-shop-in-tests"\nrate_limit = "1/day"\n')
    path.chmod(0o600)
    clients = Clients(token=OPERATOR_TOKEN, path=path)
    shop = clients.identify("token-of-shop-in-tests")

    assert shop.rate_limit == RateLimit(1, 86_400)
    path.write_text('[shop]\ntoken = "token-of-shop-in-tests"\nrate_limit = "fast"\n')
    with pytest.raises(SettingsError, match=r"rate_limit of \[shop\] is 'fast', but must be a number per second"):
        Clients(path=path)


def test_the_client_waits_as_long_as_it_is_told(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(make_app(rate_limit=RateLimit(1, 1))) as url, Client(url, ALICE) as client:
        assert [client.count_jobs()["total"] for _ in range(3)] == [0, 0, 0]

    monkeypatch.setattr(http, "_LONGEST_PAUSE_SECONDS", 0)
    with serving(make_app(rate_limit=RateLimit(1, 86_400))) as url, Client(url, OPERATOR_TOKEN) as client:
        client.count_jobs()
        with pytest.raises(RateLimitError):
            client.count_jobs()


def test_a_client_names_a_limited_number_of_skills_without_a_queue(make_app: MakeApp) -> None:
    client = make_app(max_new_skills=2).test_client()

    def create(skill: str, token: str = ALICE) -> object:
        return client.post(f"/api/v1/tasks/{skill}", json={}, headers=headers(token))

    assert [create(skill).status_code for skill in ("invented-1", "invented-2", "invented-1")] == [202] * 3
    refused = create("invented-3")
    assert "a client may name 2 skills" in problem(refused, 429, "too_many_requests")["detail"]
    assert int(refused.headers["Retry-After"]) == 3600
    assert create("invented-1").status_code == 202
    assert create("invented-3", "token-of-bob-in-tests").status_code == 202
