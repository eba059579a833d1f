"""Sending signals over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from avtomatika.core.blueprint.action_types import End, GoTo, WaitFor
from avtomatika.core.job import Job
from avtomatika.store import Store

from .conftest import created_id, problem

FORM = {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]}
WAIT = WaitFor("paid", {"received": "publish"}, 3600, FORM)

Move = Callable[..., Job]


@pytest.fixture(autouse=True)
def any_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests decide for the handlers of ``video``, whose source waits for no signal."""
    monkeypatch.setattr("avtomatika.web.api.signals.check_early", lambda *_: None)


def send(client: FlaskClient, job_id: str, name: str = "paid", **more: Any) -> Any:
    return client.post(f"/api/v1/jobs/{job_id}/signals/{name}", **more)


def test_a_signal_moves_the_job_that_waits_for_it(alice: FlaskClient, move: Move, store: Store) -> None:
    job_id = created_id(alice)
    move(GoTo("encode"), WAIT)
    waiting = alice.get(f"/api/v1/jobs/{job_id}").json

    answer = send(alice, job_id, json={"data": {"amount": 3}})
    job = move(End("out"))

    assert (waiting["status"], waiting["waiting_for"]["kind"]) == ("waiting_for_signal", "signal")
    assert (waiting["waiting_for"]["signal"], waiting["waiting_for"]["form"]) == ("paid", FORM)
    assert (answer.status_code, answer.json) == (202, {"status": "accepted", "job_id": job_id, "signal": "paid"})
    assert (job.status, job.state_history["signal_data"]) == ("finished", {"amount": 3})
    [received] = [each.entry for each in store.history(job_id)[0] if each.entry.event_type == "signal_received"]
    assert received.data is not None
    assert (received.data["by"], received.data["data"]) == ("alice", {"amount": 3})
    assert "paid" not in alice.get("/api/v1/jobs?status=waiting_for_signal").text


def test_data_that_does_not_fit_is_refused_by_field(alice: FlaskClient, move: Move) -> None:
    job_id = created_id(alice)
    move(GoTo("encode"), WAIT)

    body = problem(send(alice, job_id, json={"data": {"amount": "much"}}), 422, "invalid_request")
    assert body["errors"] == {"data": {"amount": ["'much' is not of type 'integer'"]}}
    body = problem(send(alice, job_id, json={}), 422, "invalid_request")
    assert body["errors"] == {"data": {"amount": ["is missing"]}}
    body = problem(send(alice, job_id, json={"data": {"text": "x" * 70_000}}), 422, "invalid_request")
    assert "above the limit of 65536" in body["detail"]
    assert problem(send(alice, job_id, "no name", json={}), 404, "not_found")["detail"] == "no signal 'no name'"


def test_the_same_again_is_answered_the_same(alice: FlaskClient, store: Store) -> None:
    job_id = created_id(alice)
    by_header = {"json": {"data": {"amount": 3}}, "headers": {"Idempotency-Key": "payment-1"}}

    answers = [send(alice, job_id, **by_header) for _ in range(2)]
    answers.append(send(alice, job_id, json={"data": {"amount": 3}, "idempotency_key": "payment-1"}))

    assert [(each.status_code, each.json["signal"]) for each in answers] == [(202, "paid")] * 3
    assert len(store.load(job_id).signals) == 1  # type: ignore[union-attr]
    problem(send(alice, job_id, json={"data": {"amount": 4}, "idempotency_key": "payment-1"}), 409, "conflict")


def test_who_may_send(alice: FlaskClient, bob: FlaskClient, operator: FlaskClient, move: Move) -> None:
    job_id = created_id(alice)

    problem(send(bob, job_id, json={}), 404, "not_found")
    assert send(operator, job_id, json={}).status_code == 202
    move(GoTo("encode"), End("out"))
    body = problem(send(alice, job_id, json={}), 409, "conflict")
    assert body["detail"] == "the job takes no more signals: it is finished"


def test_a_signal_that_no_state_waits_for_is_unknown(alice: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    job_id = created_id(alice)

    assert problem(send(alice, job_id, json={}), 404, "not_found")["detail"] == "no signal 'paid'"
