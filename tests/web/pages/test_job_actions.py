"""Actions on many jobs, from the list: a preview, then part by part."""

import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from avtomatika.core.job import Job
from avtomatika.store import Store
from avtomatika.web.api import job_actions

from ..conftest import created_id
from .conftest import hidden, log_in, sent_again

Move = Callable[..., Job]


def test_selected_jobs_are_cancelled_after_a_preview(browser: FlaskClient, alice: FlaskClient, store: Store) -> None:
    ids = [created_id(alice) for _ in range(3)]
    log_in(browser, "token-of-alice-in-tests")
    csrf_token = hidden(browser.get("/jobs"), "csrf_token")

    preview = browser.post(
        "/jobs/actions/preview",
        data={"csrf_token": csrf_token, "action": "cancel", "scope": "selected", "job": ids[:2]},
    )
    done = browser.post("/jobs/actions", data=sent_again(preview.text))

    assert "<b>2 jobs</b>, of 1 blueprint:" in preview.text
    assert "<b>2</b> cancelled" in done.text
    assert [job is not None and job.status for job in store.load_many(ids)] == ["cancelled", "cancelled", "pending"]


def test_all_that_match_are_done_part_by_part(
    browser: FlaskClient, alice: FlaskClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_actions, "_AT_ONCE", 2)
    monkeypatch.setattr(job_actions, "MOST_JOBS", 2)
    ids = [created_id(alice) for _ in range(5)]
    log_in(browser, "token-of-alice-in-tests")
    form = {"csrf_token": hidden(browser.get("/jobs"), "csrf_token"), "action": "cancel", "scope": "all"}

    page = browser.post("/jobs/actions/preview", data={**form, "blueprint": "video"})
    assert "<b>5 jobs</b>" in page.text
    seen = []
    while (sent := sent_again(page.text)).get("action"):
        page = browser.post("/jobs/actions", data=sent)
        seen += re.findall(r"<b>(\d+)(?: of (\d+))?</b> cancelled", page.text)

    assert seen[0] == ("2", "5")
    assert seen[-1][0] == "5"
    assert {job is not None and job.status for job in store.load_many(ids)} == {"cancelled"}


def test_a_preview_without_a_job_says_what_to_select(browser: FlaskClient, alice: FlaskClient) -> None:
    created_id(alice)
    log_in(browser, "token-of-alice-in-tests")
    form = {"csrf_token": hidden(browser.get("/jobs"), "csrf_token"), "action": "cancel", "scope": "selected"}

    response = browser.post("/jobs/actions/preview", data=form)

    assert response.status_code == 422
    assert "Select at least one job" in response.text


def test_nobody_acts_on_the_jobs_of_another_client(
    browser: FlaskClient, alice: FlaskClient, bob: FlaskClient, store: Store
) -> None:
    job_id = created_id(alice)
    log_in(browser, "token-of-bob-in-tests")
    created_id(bob)
    form = {"csrf_token": hidden(browser.get("/jobs"), "csrf_token"), "action": "cancel", "scope": "selected"}

    response = browser.post("/jobs/actions", data={**form, "job": job_id})

    job = store.load(job_id)
    assert job is not None
    assert job.status == "pending"
    assert "1 refused" in response.text
