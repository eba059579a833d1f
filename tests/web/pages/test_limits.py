"""The page of limits, for operators: what each allows and who paused it, a form and buttons."""

from __future__ import annotations

from flask.testing import FlaskClient

from avtomatika.core.limits import LimitValues
from avtomatika.store import Store

from ..conftest import OPERATOR_TOKEN
from .conftest import hidden, log_in


def test_limits_are_set_paused_resumed_and_removed(browser: FlaskClient, store: Store) -> None:
    log_in(browser, OPERATOR_TOKEN)
    first = browser.get("/limits")
    form = {"csrf_token": hidden(first, "csrf_token"), "kind": "key", "name": "<b>7</b>", "concurrency": "", "rate": ""}

    refused = browser.post("/limits", data={**form, "csrf_token": "x", "action": "pause"})
    invalid = browser.post("/limits", data={**form, "action": "set", "concurrency": "many"})
    browser.post("/limits", data={**form, "action": "set", "concurrency": "3", "rate": "100/m"})
    browser.post("/limits", data={**form, "action": "pause"})
    paused = browser.get("/limits").text
    browser.post("/limits", data={**form, "action": "resume"})
    resumed = browser.get("/limits").text
    browser.post("/limits", data={**form, "action": "remove"})

    assert "No limit is defined" in first.text
    assert (refused.status_code, invalid.status_code) == (403, 422)
    assert "oncurrency must be a whole number from 1 to 1000000, not &#39;many&#39;." in invalid.text
    assert "<b>&lt;b&gt;7&lt;/b&gt;</b>" in paused
    assert "0 of 3" in paused
    assert "100/minute" in paused
    assert 'aria-label="Resume key &lt;b&gt;7&lt;/b&gt;"' in paused
    assert 'aria-label="Pause key &lt;b&gt;7&lt;/b&gt;"' in resumed
    assert store.limits.all() == {}


def test_what_the_file_defines_has_no_button_to_remove_it(browser: FlaskClient, store: Store) -> None:
    store.limits.define("file", {"skill:encode": LimitValues.of(1)})
    log_in(browser, OPERATOR_TOKEN)

    assert 'aria-label="Remove' not in browser.get("/limits").text


def test_the_overview_warns_of_a_pause(browser: FlaskClient, store: Store) -> None:
    store.limits.set_paused("client:acme", "anna")
    log_in(browser, OPERATOR_TOKEN)
    shown = browser.get("/").text

    assert "client:acme" in shown
    assert "ago by anna: none of its tasks starts" in shown
    assert 'href="/limits"' in shown


def test_limits_are_for_operators(browser: FlaskClient) -> None:
    log_in(browser, "token-of-alice-in-tests")

    assert browser.get("/limits").status_code == 403
