"""The page of approvals, as a browser without scripts uses it: forms and redirects."""

from __future__ import annotations

import html
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
from .conftest import hidden, log_in, sent_again

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


def test_the_longest_waiting_is_first_and_a_search_finds_some(
    browser: FlaskClient, alice: FlaskClient, bob: FlaskClient, move: Move
) -> None:
    def ask(client: FlaskClient, message: str, **labels: str) -> str:
        job_id = created_id(client, labels=labels, initial_data={"title": f"data of {message}"})
        move(GoTo("encode"), AwaitApproval("mail", message, {"approved": "publish", "rejected": "failed"}))
        return job_id

    ids = [ask(alice, "Publish Dune?", team="a"), ask(bob, "Publish ALIEN?"), ask(alice, "Delete Alien?", team="b")]
    log_in(browser, OPERATOR_TOKEN)

    def shown(query: str = "") -> list[str]:
        page = browser.get(f"/approvals{query}").text
        return re.findall(r'<section class="card asks" id="([^"]+)"', page)

    assert shown() == ids
    assert shown("?text=alien") == ids[1:]
    assert shown("?label=team=b") == [ids[2]]
    assert shown("?client=bob") == [ids[1]]
    assert shown("?blueprint=nightly") == []
    assert shown(f"?job={ids[1]}") == [ids[1]]
    page = browser.get("/approvals").text
    assert "data of Publish Dune?" in page
    assert '<span class="count">3</span>' in page


def test_all_that_match_are_approved_after_a_preview(
    browser: FlaskClient, alice: FlaskClient, move: Move, store: Store
) -> None:
    ids = []
    for message in ("Publish Dune?", "Delete Dune?", "Publish Alien?"):
        ids.append(created_id(alice))
        move(GoTo("encode"), AwaitApproval("mail", message, {"approved": "publish", "rejected": "failed"}))
    log_in(browser, "token-of-alice-in-tests")
    form = {"csrf_token": hidden(browser.get("/approvals"), "csrf_token"), "status": "waiting_for_human"}

    chosen = {"action": "approve", "scope": "all", "text": "publish", "comment": "fine"}
    preview = browser.post("/jobs/actions/preview", data={**form, **chosen})
    done = browser.post("/jobs/actions", data=sent_again(preview.text))

    assert "<b>2 jobs</b>" in preview.text
    assert 'href="/approvals">Back' in preview.text
    assert "<b>2</b> approved" in done.text
    decisions = [store.live_state(job).decision for job in store.load_many(ids) if job is not None]
    assert decisions == ["approved by alice", None, "approved by alice"]
    entries, _ = store.history(ids[0])
    assert entries[-1].entry.data["comment"] == "fine"


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


def test_the_form_of_an_approval_is_filled_on_the_page(browser: FlaskClient, alice: FlaskClient, move: Move) -> None:
    form = {"type": "object", "properties": {"amount": {"type": "integer"}, "why": {}}, "required": ["amount"]}
    created_id(alice)
    move(GoTo("encode"), AwaitApproval("mail", "How much?", {"approved": "publish", "rejected": "failed"}, form=form))
    log_in(browser, "token-of-alice-in-tests")

    asked = browser.get("/approvals").text
    wrong = decide(browser, **{"data.amount": "1.5", "data.why": '"I <want> it"'})
    right = decide(browser, **{"data.amount": "15"})
    decided = move(End("out"))

    assert re.search(r'<input name="data.amount" value="" inputmode="decimal" required', asked)
    assert 'value="rejected" formnovalidate' in asked
    assert (wrong.status_code, right.status_code) == (422, 303)
    assert "amount 1.5 is not of type" in html.unescape(wrong.text)
    assert 'name="data.amount" value="1.5"' in wrong.text
    assert "I &lt;want&gt; it" in wrong.text
    assert decided.state_history["decision_data"] == {"amount": 15}
