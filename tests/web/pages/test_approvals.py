"""The page of approvals, as a browser without scripts uses it: forms and redirects."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from avtomatika.core.blueprint.action_types import AwaitApproval, End, GoTo
from avtomatika.core.job import Job
from avtomatika.store import Store

from ..conftest import OPERATOR_TOKEN, created_id
from .conftest import hidden, log_in

ASK = AwaitApproval("mail", "Publish <b>this</b>?", {"approved": "publish", "rejected": "failed", "timeout": "failed"})

Move = Callable[..., Job]


@pytest.fixture
def job_id(alice: FlaskClient, move: Move) -> str:
    """A job of alice's that asks."""
    job_id = created_id(alice)
    move(GoTo("encode"), ASK)
    return job_id


def decide(browser: FlaskClient, **fields: str) -> TestResponse:
    """The first card of the page is decided."""
    listed = browser.get("/approvals")
    form = {name: hidden(listed, name) for name in ("csrf_token", "job", "approval")}
    return browser.post("/approvals", data={**form, "decision": "approved", "comment": ""} | fields)


def test_a_client_sees_its_own_questions_escaped_and_an_operator_those_of_all(
    app: Flask, browser: FlaskClient, job_id: str
) -> None:
    bob, operator = app.test_client(), app.test_client()
    for who, token in (
        (browser, "token-of-alice-in-tests"),
        (bob, "token-of-bob-in-tests"),
        (operator, OPERATOR_TOKEN),
    ):
        assert log_in(who, token).headers["Location"] == "/"

    pages = [who.get("/approvals").text for who in (browser, bob, operator)]

    assert [job_id in page for page in pages] == [True, False, True]
    assert "Publish &lt;b&gt;this&lt;/b&gt;?" in pages[0]
    assert re.findall(r'name="decision" value="(\w+)"', pages[0]) == ["approved", "rejected"]
    assert "No approval is waiting." in pages[1]


def test_a_button_decides_in_the_name_of_the_client(browser: FlaskClient, job_id: str, move: Move) -> None:
    log_in(browser, "token-of-alice-in-tests")

    response = decide(browser, comment=" fine ")
    shown = browser.get(response.headers["Location"]).text
    decided = move(End("out"))

    assert response.status_code == 303
    assert "Your decision was recorded: approved by alice." in shown
    assert "No approval is waiting." in shown
    assert decided.state_history["approval"] == {"decision": "approved", "by": "alice", "comment": "fine"}


def test_the_second_decision_is_told_who_was_first(browser: FlaskClient, job_id: str, alice: FlaskClient) -> None:
    log_in(browser, "token-of-alice-in-tests")
    listed = browser.get("/approvals")
    form = {name: hidden(listed, name) for name in ("csrf_token", "job", "approval")}
    alice.post(f"/api/v1/jobs/{job_id}/approve", json={"decision": "rejected"})

    response = browser.post("/approvals", data={**form, "decision": "approved"})

    assert response.status_code == 409
    assert "Already decided: rejected by alice." in response.text


def test_an_old_page_decides_no_later_question(browser: FlaskClient, job_id: str, move: Move, store: Store) -> None:
    log_in(browser, "token-of-alice-in-tests")
    listed = browser.get("/approvals")
    form = {name: hidden(listed, name) for name in ("csrf_token", "job", "approval")}
    decide(browser)
    move(AwaitApproval("mail", "Really?", {"approved": "publish"}))

    response = browser.post("/approvals", data={**form, "decision": "approved"})

    job = store.load(job_id)
    assert job is not None
    assert response.status_code == 409
    assert store.live_state(job).decision is None


def test_somebody_elses_job_is_not_decided(app: Flask, browser: FlaskClient, job_id: str, store: Store) -> None:
    bob = app.test_client()
    log_in(browser, "token-of-alice-in-tests")
    log_in(bob, "token-of-bob-in-tests")
    listed = browser.get("/approvals")
    form = {name: hidden(listed, name) for name in ("job", "approval")}

    response = bob.post(
        "/approvals",
        data={**form, "csrf_token": hidden(bob.get("/approvals"), "csrf_token"), "decision": "approved"},
    )

    job = store.load(job_id)
    assert job is not None
    assert f"No job &#39;{job_id}&#39;" in response.text
    assert store.live_state(job).decision is None
