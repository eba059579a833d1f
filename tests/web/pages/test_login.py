"""Logging in to the pages and out, with a token and with a link."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from avtomatika.store import Store
from avtomatika.web.sealing import seal
from avtomatika.web.throttling import FAILURES_PER_MINUTE

from .conftest import hidden, log_in


def test_who_is_not_logged_in_is_asked_for_a_token(browser: FlaskClient) -> None:
    for path, page in (("/", "/login"), ("/jobs?status=failed", "/login?next=/jobs?status%3Dfailed")):
        response = browser.get(path)

        assert (response.status_code, response.headers["Location"]) == (303, page)
    assert "Your client token" in browser.get("/login").text


@pytest.mark.parametrize("path", ["/login", "/logout", "/approvals"])
@pytest.mark.parametrize("csrf_token", ["", "x", "another session's"])
def test_a_form_from_elsewhere_changes_nothing(app: Flask, browser: FlaskClient, path: str, csrf_token: str) -> None:
    log_in(browser, "token-of-alice-in-tests")
    if csrf_token == "another session's":
        csrf_token = hidden(app.test_client().get("/login"), "csrf_token")

    response = browser.post(path, data={"csrf_token": csrf_token, "token": "token-of-bob-in-tests"})

    assert response.status_code == 403
    assert "is from another site" in response.text
    assert "alice" in browser.get("/approvals").text


def test_a_version_of_a_file_is_kept_by_browsers_for_long(browser: FlaskClient) -> None:
    page = browser.get("/login").text
    [address] = re.findall(r'href="(/static/avtomatika.css[^"]+)"', page)

    with browser.get(address) as kept, browser.get(f"{address}0") as old:
        same = kept.data == old.data

    assert same
    assert kept.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert (old.status_code, old.headers["Cache-Control"]) == (200, "no-cache")


def test_who_logs_out_is_out(browser: FlaskClient) -> None:
    log_in(browser, "token-of-alice-in-tests")

    csrf_token = hidden(browser.get("/approvals"), "csrf_token")
    stolen = browser.get_cookie("avtomatika_session", path="/")
    browser.post("/logout", data={"csrf_token": csrf_token})

    assert browser.get("/approvals").status_code == 303
    assert stolen is not None
    browser.set_cookie("avtomatika_session", stolen.value, path="/")
    assert browser.get("/approvals").status_code == 303


@pytest.mark.parametrize("is_secure", [False, True])
def test_the_cookie_is_for_no_script_and_no_other_site(browser: FlaskClient, is_secure: bool) -> None:
    scheme = "https" if is_secure else "http"
    login = browser.get("/login", base_url=f"{scheme}://localhost")

    [cookie] = login.headers.getlist("Set-Cookie")

    assert {"HttpOnly", "Path=/", "SameSite=Lax"} <= set(cookie.split("; "))
    assert ("Secure" in cookie.split("; ")) is is_secure


def test_a_session_is_no_token_of_the_api(browser: FlaskClient) -> None:
    log_in(browser, "token-of-alice-in-tests")

    assert browser.get("/api/v1/jobs").status_code == 401


def test_a_cookie_that_was_changed_or_sealed_for_something_else_is_none(browser: FlaskClient, store: Store) -> None:
    log_in(browser, "token-of-alice-in-tests")
    cookie = browser.get_cookie("avtomatika_session", path="/")
    assert cookie is not None

    for forged in (cookie.value[:-1], "", seal(store.keyring.secret, "approval", ["w", 9e15, "operator", "x"])):
        browser.set_cookie("avtomatika_session", forged, path="/")
        assert browser.get("/approvals").status_code == 303


def test_another_token_ends_the_session_of_its_client(
    browser: FlaskClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avtomatika.tokens.reloading_toml.CHECK_INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr("avtomatika.tokens.reloading_toml.SETTLE_SECONDS", 0.0)
    log_in(browser, "token-of-alice-in-tests")
    text = (tmp_path / "clients.toml").read_text()

    (tmp_path / "clients.toml").write_text(text.replace("token-of-alice-in-tests", "another-token-of-hers"))

    assert browser.get("/approvals").status_code == 303


def test_a_wrong_token_is_refused_and_after_some_one_has_to_wait(browser: FlaskClient) -> None:
    tokens = ["", "wrong", "é", "token-of-a-worker", *["wrong"] * (FAILURES_PER_MINUTE - 4)]
    tries = [log_in(browser, token) for token in tokens]
    too_many = log_in(browser, "wrong")
    right = log_in(browser, "token-of-alice-in-tests")

    assert {response.status_code for response in tries} == {403}
    assert all("This token is not valid." in response.text for response in tries)
    assert (too_many.status_code, 0 < int(too_many.headers["Retry-After"]) <= 60) == (429, True)
    assert right.headers["Location"] == "/"


# ---------------------------------------------------------------- links


def link(client: FlaskClient, page: str | None = None) -> str:
    """A link to log in with, without scheme and host."""
    answer = client.post("/api/v1/login-links", json={"page": page})
    assert (answer.status_code, answer.json["expires_in"]) == (201, 300)
    return str(answer.json["url"]).removeprefix("http://localhost")


def test_a_link_logs_in_once_and_opens_its_page(browser: FlaskClient, alice: FlaskClient, app: Flask) -> None:
    path = link(alice, "/jobs?status=failed")

    response = browser.get(path)
    again = app.test_client().get(path)

    assert (response.status_code, response.headers["Location"]) == (303, "/jobs?status=failed")
    assert "alice" in browser.get("/jobs").text
    assert again.status_code == 410
    assert "was used or has expired" in again.text


@pytest.mark.parametrize(
    "page", ["https://evil.example", "//evil.example", "/\\evil.example", "/\t/evil.example", "jobs", ""]
)
def test_a_link_opens_pages_of_this_site_only(browser: FlaskClient, alice: FlaskClient, page: str) -> None:
    assert browser.get(link(alice, page)).headers["Location"] == "/"


def test_a_link_expires_and_ends_with_the_token(
    browser: FlaskClient, alice: FlaskClient, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avtomatika.tokens.reloading_toml.CHECK_INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr("avtomatika.tokens.reloading_toml.SETTLE_SECONDS", 0.0)
    path = link(alice)
    text = (tmp_path / "clients.toml").read_text()
    (tmp_path / "clients.toml").write_text(text.replace("token-of-alice-in-tests", "another-token-of-hers"))

    assert browser.get(path).status_code == 410
    assert browser.get("/login/invented").status_code == 410


def test_a_viewer_sees_all_jobs_and_changes_nothing(
    app: Flask, browser: FlaskClient, alice: FlaskClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avtomatika.tokens.reloading_toml.CHECK_INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr("avtomatika.tokens.reloading_toml.SETTLE_SECONDS", 0.0)
    with (tmp_path / "clients.toml").open("a") as file:
        file.write('[eve]\ntoken = "token-of-eve-in-tests"\nrole = "viewer"\n')
    job_id = alice.post("/api/v1/jobs/video", json={}).json["job_id"]
    headers = {"X-Client-Token": "token-of-eve-in-tests"}
    log_in(browser, "token-of-eve-in-tests")

    shown = browser.get(f"/jobs/{job_id}")
    cancelled = browser.post(f"/jobs/{job_id}/cancel", data={"csrf_token": hidden(shown, "csrf_token")})
    over_api = app.test_client().post(f"/api/v1/jobs/{job_id}/cancel", headers=headers)

    assert shown.status_code == 200
    assert "Cancel" not in shown.text
    assert (cancelled.status_code, over_api.status_code) == (403, 403)
    assert browser.get("/queues").status_code == 200
    assert app.test_client().post("/api/v1/login-links", json={}, headers=headers).status_code == 201
