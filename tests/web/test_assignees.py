"""Approvals that name who may decide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient

from avtomatika.core.blueprint.action_types import AwaitApproval, End, GoTo
from avtomatika.core.job import Job
from avtomatika.store import Store
from avtomatika.tokens import Clients

from .conftest import OPERATOR_TOKEN, created_id, problem
from .pages.conftest import hidden, log_in

NEXT = {"approved": "publish", "rejected": "failed"}
FOR_BOB = AwaitApproval("mail", "Publish it?", NEXT, assignees=("bob",))
FOR_FINANCE = AwaitApproval("mail", "Pay it?", NEXT, role="finance")

Move = Callable[..., Job]


@pytest.fixture
def clients(tmp_path: Path) -> Clients:
    path = tmp_path / "clients.toml"
    path.write_text(
        """
        [alice]
        token = "token-of-alice-in-tests"
        [bob]
        token = "token-of-bob-in-tests"
        [carol]
        token = "token-of-carol-in-tests"
        roles = ["legal", "finance"]
        """
    )
    path.chmod(0o600)
    return Clients(token=OPERATOR_TOKEN, path=path)


@pytest.fixture
def carol(app: Flask) -> FlaskClient:
    client = app.test_client()
    client.environ_base["HTTP_X_CLIENT_TOKEN"] = "token-of-carol-in-tests"
    return client


def asking(client: FlaskClient, move: Move, ask: AwaitApproval) -> str:
    job_id = created_id(client)
    move(GoTo("encode"), ask)
    return job_id


def decide(client: FlaskClient, job_id: str, decision: str = "approved") -> Any:
    return client.post(f"/api/v1/jobs/{job_id}/approve", json={"decision": decision})


def test_only_those_named_may_decide(
    alice: FlaskClient, bob: FlaskClient, carol: FlaskClient, operator: FlaskClient, move: Move
) -> None:
    job_id = asking(alice, move, FOR_BOB)
    shown = bob.get(f"/api/v1/jobs/{job_id}").json["waiting_for"]

    assert (shown["assignees"], shown["role"]) == (["bob"], None)
    for other in (alice, operator):
        body = problem(decide(other, job_id), 403, "forbidden")
        assert body["detail"] == "only bob may decide this approval"
    problem(decide(carol, job_id), 404, "not_found")
    problem(bob.post(f"/api/v1/jobs/{job_id}/cancel"), 404, "not_found")
    assert decide(bob, job_id).json["decision"] == "approved by bob"
    move(End("out"))
    problem(bob.get(f"/api/v1/jobs/{job_id}"), 404, "not_found")


def test_a_role_may_decide(alice: FlaskClient, bob: FlaskClient, carol: FlaskClient, move: Move) -> None:
    job_id = asking(alice, move, FOR_FINANCE)

    [reason] = [each for each in alice.get(f"/api/v1/jobs/{job_id}/why").json["reasons"] if "decide" in each["text"]]
    assert reason["text"].endswith("Only clients with the role 'finance' may decide.")
    problem(decide(bob, job_id), 404, "not_found")
    assert decide(carol, job_id).status_code == 200


def test_mine_lists_those_of_other_clients_too(
    alice: FlaskClient, bob: FlaskClient, carol: FlaskClient, move: Move
) -> None:
    of_bob, of_finance = asking(alice, move, FOR_BOB), asking(alice, move, FOR_FINANCE)
    asking(bob, move, AwaitApproval("mail", "Mine to see, not to decide", NEXT))

    def mine(client: FlaskClient, query: str = "") -> list[str]:
        return [job["id"] for job in client.get(f"/api/v1/jobs?mine=true{query}").json["jobs"]]

    assert (mine(bob), mine(carol), mine(alice)) == ([of_bob], [of_finance], [])
    assert mine(carol, "&text=pay") == [of_finance]
    assert mine(carol, "&text=publish") == []
    assert bob.get("/api/v1/jobs/counts?mine=true").json["counts"] == {"waiting_for_human": 1}


def test_many_at_once_spares_those_of_others(alice: FlaskClient, carol: FlaskClient, move: Move, store: Store) -> None:
    jobs = [asking(alice, move, ask) for ask in (FOR_BOB, FOR_FINANCE, AwaitApproval("mail", "Any?", NEXT))]

    by_owner = alice.post("/api/v1/jobs/actions", json={"action": "approve", "ids": jobs}).json
    mine = carol.post("/api/v1/jobs/actions", json={"action": "reject", "filter": {"mine": True}}).json

    assert (by_owner["done"], [each["code"] for each in by_owner["refusals"]]) == (1, ["forbidden", "forbidden"])
    assert (mine["done"], mine["refused"]) == (1, 0)


def test_a_link_says_whom_it_is_for(alice: FlaskClient, bob: FlaskClient, app: Flask, move: Move, store: Store) -> None:
    job_id = asking(alice, move, FOR_BOB)
    path = f"/api/v1/jobs/{job_id}/approval-link"

    body = problem(alice.post(path, json={}), 422, "invalid_request")
    assert body["errors"] == {"recipient": ["must be bob"]}
    problem(alice.post(path, json={"recipient": "carol"}), 422, "invalid_request")
    own = bob.post(path, json={})
    sent = alice.post(path, json={"recipient": "bob"})
    assert (own.status_code, sent.status_code) == (200, 200)
    [link] = parse_qs(urlsplit(sent.json["url"]).query)["link"]
    person = app.test_client()
    assert "This link is for bob." in person.get(f"/approve?link={link}").text
    person.post("/approve", data={"link": link, "decision": "approved", "name": "Bob Smith"})
    move(End("out"))

    history, _ = store.history(job_id)
    [made] = [each.entry.data for each in history if each.entry.event_type == "decision_made"]
    assert made == {"decision": "approved", "by": "link for bob: Bob Smith"}


def test_the_page_shows_whom_it_is_for_and_filters(alice: FlaskClient, app: Flask, move: Move) -> None:
    job_id = asking(alice, move, FOR_FINANCE)
    browser, owner = app.test_client(), app.test_client()
    log_in(browser, "token-of-carol-in-tests")
    log_in(owner, "token-of-alice-in-tests")

    assert job_id not in browser.get("/approvals").text
    mine = browser.get("/approvals?mine=true")
    assert "<dt>For</dt><dd>role finance</dd>" in mine.text
    form = {"csrf_token": hidden(mine, "csrf_token"), "job": job_id, "decision": "approved"}
    form["approval"] = hidden(mine, "approval")
    theirs = {**form, "csrf_token": hidden(owner.get("/approvals"), "csrf_token")}
    refused = owner.post("/approvals", data=theirs)
    assert refused.status_code == 403
    assert "Only clients with the role" in refused.text
    assert browser.post("/approvals", data=form).status_code == 303
