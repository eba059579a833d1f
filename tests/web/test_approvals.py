"""Deciding approvals over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from flask.testing import FlaskClient

from avtomatika.core.blueprint.action_types import AwaitApproval, End, GoTo
from avtomatika.core.job import Job
from avtomatika.store import Store

from .conftest import created_id, problem

ASK = AwaitApproval("mail", "Publish it?", {"approved": "publish", "rejected": "failed"})
ASK_FOR_AN_HOUR = AwaitApproval("mail", "Publish it?", {"approved": "publish", "timeout": "failed"}, 3600)

Move = Callable[..., Job]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No orchestrator runs here: an answer that waited for one would wait in vain."""
    monkeypatch.setattr("avtomatika.web.api.control._WAIT_SECONDS", 0.0)


@pytest.fixture
def job_id(alice: FlaskClient, move: Move) -> str:
    """A job of alice's that asks."""
    job_id = created_id(alice)
    move(GoTo("encode"), ASK)
    return job_id


def decide(client: FlaskClient, job_id: str, decision: str = "approved", **more: object) -> object:
    return client.post(f"/api/v1/jobs/{job_id}/approve", json={"decision": decision, **more})


def test_a_job_tells_what_it_asks_since_when_and_until_when(alice: FlaskClient, move: Move) -> None:
    job_id = created_id(alice)
    move(GoTo("encode"), ASK_FOR_AN_HOUR)

    job = alice.get(f"/api/v1/jobs/{job_id}").json
    asked = job["waiting_for"]

    assert (job["status"], job["decision"]) == ("waiting_for_human", None)
    assert (asked["kind"], asked["integration"], asked["message"]) == ("approval", "mail", "Publish it?")
    assert asked["decisions"] == ["approved"]
    assert asked["since"] == job["updated_at"]
    assert asked["until"][14:] == asked["since"][14:]
    assert asked["until"] > asked["since"]


def test_a_decision_moves_the_job_and_stands_in_its_history(
    alice: FlaskClient, job_id: str, move: Move, store: Store
) -> None:
    response = decide(alice, job_id, comment="fine by me")
    move(End("out"))

    assert response.status_code == 200
    assert response.json["decision"] == "approved by alice"
    history, _ = store.history(job_id)
    [entry] = [recorded.entry for recorded in history if recorded.entry.event_type == "approved"]
    assert entry.data == {"decision": "approved", "by": "alice", "comment": "fine by me", "go_to": "publish"}
    assert alice.get(f"/api/v1/jobs/{job_id}").json["status"] == "finished"


def test_the_second_decision_is_told_who_was_first(
    alice: FlaskClient, operator: FlaskClient, job_id: str, move: Move
) -> None:
    decide(operator, job_id)

    before = problem(decide(alice, job_id, "rejected"), 409, "conflict")
    move(End("out"))
    after = problem(decide(alice, job_id, "rejected"), 409, "conflict")

    assert before["detail"] == "already decided: approved by operator"
    assert after["detail"] == (
        "the job does not wait for a decision: it is finished; its last decision: approved by operator"
    )


def test_of_many_at_once_exactly_one_decides(app: Flask, job_id: str) -> None:
    def ask(decision: str) -> int:
        client = app.test_client()
        client.environ_base["HTTP_X_CLIENT_TOKEN"] = "token-of-alice-in-tests"
        return decide(client, job_id, decision).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(ask, ["approved", "rejected"] * 8))

    assert sorted(statuses) == [200] + [409] * 15


def test_a_job_that_asks_nothing_is_a_conflict(alice: FlaskClient) -> None:
    body = problem(decide(alice, created_id(alice)), 409, "conflict")

    assert body["detail"] == "the job does not wait for a decision: it is pending"


@pytest.mark.parametrize("word", ["yes", "timeout", "", "Approved"])
def test_another_word_is_told_those_that_are_asked_for(alice: FlaskClient, job_id: str, word: str) -> None:
    body = problem(decide(alice, job_id, word), 422, "invalid_request")

    assert body["errors"] == {"decision": ["must be one of: approved, rejected"]}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "decision"),
        ({"decision": 1}, "decision"),
        ({"decision": "approved", "comment": "x" * 2001}, "comment"),
        ({"decision": "approved", "by": "somebody else"}, "by"),
    ],
)
def test_a_body_that_does_not_fit_decides_nothing(
    alice: FlaskClient, job_id: str, body: dict[str, object], field: str
) -> None:
    response = alice.post(f"/api/v1/jobs/{job_id}/approve", json=body)

    assert list(problem(response, 422, "invalid_request")["errors"]) == [field]
    assert alice.get(f"/api/v1/jobs/{job_id}").json["decision"] is None


def test_nobody_else_decides(
    anybody: FlaskClient, bob: FlaskClient, alice: FlaskClient, job_id: str, app: Flask
) -> None:
    worker = app.test_client()
    worker.environ_base["HTTP_X_WORKER_TOKEN"] = "token-of-a-worker"

    problem(decide(bob, job_id), 404, "not_found")
    problem(decide(anybody, job_id), 401, "unauthorized")
    problem(decide(worker, job_id), 401, "unauthorized")

    assert alice.get(f"/api/v1/jobs/{job_id}").json["decision"] is None


def test_a_later_approval_starts_anew(alice: FlaskClient, job_id: str, move: Move) -> None:
    decide(alice, job_id)
    move(AwaitApproval("mail", "Really?", {"rejected": "failed"}))

    job = alice.get(f"/api/v1/jobs/{job_id}").json

    assert (job["decision"], job["waiting_for"]["message"]) == (None, "Really?")
    assert decide(alice, job_id, "rejected").status_code == 200


FORM = {
    "type": "object",
    "properties": {"amount": {"type": "integer", "minimum": 1}, "why": {"type": "string"}},
    "required": ["amount"],
    "additionalProperties": False,
}
ASK_AMOUNT = AwaitApproval("mail", "How much?", {"approved": "publish", "rejected": "failed"}, form=FORM)


def test_the_data_of_a_form_is_checked_by_field_and_reaches_the_job(
    alice: FlaskClient, move: Move, store: Store
) -> None:
    job_id = created_id(alice)
    move(GoTo("encode"), ASK_AMOUNT)

    asked = alice.get(f"/api/v1/jobs/{job_id}").json["waiting_for"]
    refused = [
        problem(decide(alice, job_id, data=data), 422, "invalid_request")["errors"]
        for data in (None, {"amount": 0, "why": 1}, {"amount": 1, "other": 2})
    ]
    accepted = decide(alice, job_id, data={"amount": 3})
    job = move(End("out"))

    assert asked["form"] == FORM
    assert refused[0] == {"data": {"amount": ["is missing"]}}
    assert list(refused[1]["data"]) == ["amount", "why"]
    assert "'other' was unexpected" in refused[2]["data"][0]
    assert accepted.status_code == 200
    assert job.state_history["decision_data"] == {"amount": 3}
    assert job.state_history["approval"] == {"decision": "approved", "by": "alice"}
    [entry] = [each.entry for each in store.history(job_id)[0] if each.entry.event_type == "approved"]
    assert entry.data["data"] == {"amount": 3}


def test_a_rejection_needs_no_data(alice: FlaskClient, move: Move) -> None:
    job_id = created_id(alice)
    move(GoTo("encode"), ASK_AMOUNT)

    assert decide(alice, job_id, "rejected").status_code == 200
    assert move(End("out")).state_history["decision_data"] is None


def test_an_approval_without_a_form_refuses_data(alice: FlaskClient, job_id: str) -> None:
    errors = problem(decide(alice, job_id, data={"amount": 3}), 422, "invalid_request")["errors"]

    assert errors == {"data": ["the approval asks for none"]}
