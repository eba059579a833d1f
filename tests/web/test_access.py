from __future__ import annotations

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from .conftest import created_id, problem


def test_without_a_token_nothing_but_the_public_routes_is_answered(app: Flask, anybody: FlaskClient) -> None:
    public = {"/approve", "/livez", "/readyz", "/_public/status", "/openapi.json", "/docs"}
    public.add("/api/v1/worker-openapi.json")
    public |= {"/login", "/login/video", "/static/video"}

    for rule in app.url_map.iter_rules():
        path = re.sub(r"<any\((\w+).*?>", r"\1", rule.rule)
        path = re.sub(r"<int:\w+>", "1", path)
        path = re.sub(r"<(\w+:)?\w+>", "video", path)
        for method in (rule.methods or set()) - {"OPTIONS", "HEAD"}:
            response = anybody.open(path, method=method, json={})
            assert (response.status_code not in (401, 303)) is (path in public), path


def test_a_missing_token_is_told_where_to_put_it(anybody: FlaskClient) -> None:
    response = anybody.get("/api/v1/jobs")

    body = problem(response, 401, "unauthorized")
    assert body["detail"] == "a client token is required, in the header X-Client-Token or as Authorization: Bearer"
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="avtomatika"'


@pytest.mark.parametrize("token", ["wrong", "token-of-alice-in-tests ", "Token-of-alice-in-tests", "é", "x" * 8000])
def test_a_wrong_token_is_refused(anybody: FlaskClient, token: str) -> None:
    response = anybody.get("/api/v1/jobs", headers={"X-Client-Token": token})

    body = problem(response, 401, "unauthorized")
    assert body["detail"] == "no client has this token"


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Basic dG9rZW4tb2YtYWxpY2U6", "token-of-alice-in-tests"])
def test_an_authorization_without_a_bearer_token_is_none(anybody: FlaskClient, header: str) -> None:
    response = anybody.get("/api/v1/jobs", headers={"Authorization": header})

    assert problem(response, 401, "unauthorized")["detail"].startswith("a client token is required")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_a_bearer_token_is_as_good(anybody: FlaskClient, scheme: str) -> None:
    response = anybody.get("/api/v1/jobs", headers={"Authorization": f"{scheme} token-of-alice-in-tests"})

    assert response.status_code == 200


@pytest.mark.parametrize("name", ["token", "client_token", "X-Client-Token", "access_token"])
def test_a_token_in_the_address_is_not_accepted(anybody: FlaskClient, name: str) -> None:
    problem(anybody.get("/api/v1/jobs", query_string={name: "token-of-alice-in-tests"}), 401, "unauthorized")


@pytest.mark.parametrize("suffix", ["", "/history", "/graph"])
def test_a_job_of_another_client_is_as_unknown_as_one_that_never_was(
    alice: FlaskClient, bob: FlaskClient, suffix: str
) -> None:
    job_id = created_id(alice)

    theirs = problem(bob.get(f"/api/v1/jobs/{job_id}{suffix}"), 404, "not_found")
    nobodys = problem(bob.get(f"/api/v1/jobs/g0-1{suffix}"), 404, "not_found")

    assert theirs["detail"] == f"no job '{job_id}'"
    assert nobodys["detail"] == "no job 'g0-1'"


def test_clients_list_their_own_jobs_and_operators_all(
    alice: FlaskClient, bob: FlaskClient, operator: FlaskClient
) -> None:
    of_alice, of_bob = created_id(alice), created_id(bob)

    assert [job["id"] for job in alice.get("/api/v1/jobs").json["jobs"]] == [of_alice]
    assert {job["id"] for job in operator.get("/api/v1/jobs").json["jobs"]} == {of_alice, of_bob}
    assert operator.get(f"/api/v1/jobs/{of_alice}").json["client"] == "alice"
