"""The dashboard, as a browser without scripts uses it: cookies, forms, redirects."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from avtomatika.core.blueprint.action_types import AwaitApproval, End, GoTo
from avtomatika.core.job import Job
from avtomatika.store import Store
from avtomatika.web.sealing import seal
from avtomatika.web.throttling import FAILURES_PER_MINUTE

from .conftest import OPERATOR_TOKEN, created_id

ASK = AwaitApproval("mail", "Publish <b>this</b>?", {"approved": "publish", "rejected": "failed", "timeout": "failed"})

Move = Callable[..., Job]


@pytest.fixture
def job_id(alice: FlaskClient, move: Move) -> str:
    """A job of alice's that asks."""
    job_id = created_id(alice)
    move(GoTo("encode"), ASK)
    return job_id


@pytest.fixture
def browser(app: Flask) -> FlaskClient:
    """A client that is not logged in: no token in a header, but cookies."""
    return app.test_client()


def log_in(browser: FlaskClient, token: str) -> TestResponse:
    csrf_token = hidden(browser.get("/dashboard/login"), "csrf_token")
    return browser.post("/dashboard/login", data={"token": token, "csrf_token": csrf_token})


def hidden(response: TestResponse, name: str) -> str:
    """The (first) hidden field called *name*."""
    found = re.search(rf'type="hidden" name="{name}" value="([^"]*)"', response.text)
    assert found is not None, response.text
    return html.unescape(found[1])


def decide(browser: FlaskClient, **fields: str) -> TestResponse:
    """The first card of the page is decided."""
    listed = browser.get("/dashboard/approvals")
    form = {name: hidden(listed, name) for name in ("csrf_token", "job", "approval")}
    return browser.post("/dashboard/approvals", data={**form, "decision": "approved", "comment": ""} | fields)


def test_who_is_not_logged_in_is_asked_for_a_token(browser: FlaskClient) -> None:
    for path in ("/dashboard", "/dashboard/approvals"):
        response = browser.get(path)

        assert (response.status_code, response.headers["Location"]) == (303, "/dashboard/login")
    assert "Your client token" in browser.get("/dashboard/login").text


def test_a_client_sees_its_own_questions_escaped_and_an_operator_those_of_all(
    app: Flask, browser: FlaskClient, job_id: str
) -> None:
    bob, operator = app.test_client(), app.test_client()
    for who, token in (
        (browser, "token-of-alice-in-tests"),
        (bob, "token-of-bob-in-tests"),
        (operator, OPERATOR_TOKEN),
    ):
        assert log_in(who, token).headers["Location"] == "/dashboard/approvals"

    pages = [who.get("/dashboard/approvals").text for who in (browser, bob, operator)]

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
    listed = browser.get("/dashboard/approvals")
    form = {name: hidden(listed, name) for name in ("csrf_token", "job", "approval")}
    alice.post(f"/api/v1/jobs/{job_id}/approve", json={"decision": "rejected"})

    response = browser.post("/dashboard/approvals", data={**form, "decision": "approved"})

    assert response.status_code == 409
    assert "Already decided: rejected by alice." in response.text


def test_an_old_page_decides_no_later_question(browser: FlaskClient, job_id: str, move: Move, store: Store) -> None:
    log_in(browser, "token-of-alice-in-tests")
    listed = browser.get("/dashboard/approvals")
    form = {name: hidden(listed, name) for name in ("csrf_token", "job", "approval")}
    decide(browser)
    move(AwaitApproval("mail", "Really?", {"approved": "publish"}))

    response = browser.post("/dashboard/approvals", data={**form, "decision": "approved"})

    job = store.load(job_id)
    assert job is not None
    assert response.status_code == 409
    assert store.live_state(job).decision is None


def test_somebody_elses_job_is_not_decided(app: Flask, browser: FlaskClient, job_id: str, store: Store) -> None:
    bob = app.test_client()
    log_in(browser, "token-of-alice-in-tests")
    log_in(bob, "token-of-bob-in-tests")
    listed = browser.get("/dashboard/approvals")
    form = {name: hidden(listed, name) for name in ("job", "approval")}

    response = bob.post(
        "/dashboard/approvals",
        data={**form, "csrf_token": hidden(bob.get("/dashboard/approvals"), "csrf_token"), "decision": "approved"},
    )

    job = store.load(job_id)
    assert job is not None
    assert f"No job &#39;{job_id}&#39;" in response.text
    assert store.live_state(job).decision is None


@pytest.mark.parametrize("path", ["/dashboard/login", "/dashboard/logout", "/dashboard/approvals"])
@pytest.mark.parametrize("csrf_token", ["", "x", "another session's"])
def test_a_form_from_elsewhere_changes_nothing(app: Flask, browser: FlaskClient, path: str, csrf_token: str) -> None:
    log_in(browser, "token-of-alice-in-tests")
    if csrf_token == "another session's":
        csrf_token = hidden(app.test_client().get("/dashboard/login"), "csrf_token")

    response = browser.post(path, data={"csrf_token": csrf_token, "token": "token-of-bob-in-tests"})

    assert response.status_code == 403
    assert "is from another site" in response.text
    assert "alice" in browser.get("/dashboard/approvals").text


def test_who_logs_out_is_out(browser: FlaskClient) -> None:
    log_in(browser, "token-of-alice-in-tests")

    csrf_token = hidden(browser.get("/dashboard/approvals"), "csrf_token")
    stolen = browser.get_cookie("avtomatika_session", path="/dashboard")
    browser.post("/dashboard/logout", data={"csrf_token": csrf_token})

    assert browser.get("/dashboard/approvals").status_code == 303
    assert stolen is not None
    browser.set_cookie("avtomatika_session", stolen.value, path="/dashboard")
    assert browser.get("/dashboard/approvals").status_code == 303


@pytest.mark.parametrize("is_secure", [False, True])
def test_the_cookie_is_for_the_dashboard_alone(browser: FlaskClient, is_secure: bool) -> None:
    scheme = "https" if is_secure else "http"
    login = browser.get("/dashboard/login", base_url=f"{scheme}://localhost")

    [cookie] = login.headers.getlist("Set-Cookie")

    assert {"HttpOnly", "Path=/dashboard", "SameSite=Lax"} <= set(cookie.split("; "))
    assert ("Secure" in cookie.split("; ")) is is_secure


def test_a_session_is_no_token_of_the_api(browser: FlaskClient) -> None:
    log_in(browser, "token-of-alice-in-tests")

    assert browser.get("/api/v1/jobs").status_code == 401


def test_a_cookie_that_was_changed_or_sealed_for_something_else_is_none(browser: FlaskClient, store: Store) -> None:
    log_in(browser, "token-of-alice-in-tests")
    cookie = browser.get_cookie("avtomatika_session", path="/dashboard")
    assert cookie is not None

    for forged in (cookie.value[:-1], "", seal(store.keyring.secret, "approval", ["w", 9e15, "operator", "x"])):
        browser.set_cookie("avtomatika_session", forged, path="/dashboard")
        assert browser.get("/dashboard/approvals").status_code == 303


def test_another_token_ends_the_session_of_its_client(
    browser: FlaskClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avtomatika.tokens.reloading_toml.CHECK_INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr("avtomatika.tokens.reloading_toml.SETTLE_SECONDS", 0.0)
    log_in(browser, "token-of-alice-in-tests")
    text = (tmp_path / "clients.toml").read_text()

    (tmp_path / "clients.toml").write_text(text.replace("token-of-alice-in-tests", "another-token-of-hers"))

    assert browser.get("/dashboard/approvals").status_code == 303


def test_a_wrong_token_is_refused_and_after_some_one_has_to_wait(browser: FlaskClient) -> None:
    tokens = ["", "wrong", "é", "token-of-a-worker", *["wrong"] * (FAILURES_PER_MINUTE - 4)]
    tries = [log_in(browser, token) for token in tokens]
    too_many = log_in(browser, "wrong")
    right = log_in(browser, "token-of-alice-in-tests")

    assert {response.status_code for response in tries} == {403}
    assert all("This token is not valid." in response.text for response in tries)
    assert (too_many.status_code, 0 < int(too_many.headers["Retry-After"]) <= 60) == (429, True)
    assert right.headers["Location"] == "/dashboard/approvals"
