"""The page of a job: what happened, why it waits, its values, and its buttons."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from avtomatika.core.blueprint.action_types import End, FanOut, GoTo, RunBlueprint, WaitFor
from avtomatika.core.job import Job, JobStatus
from avtomatika.store import Store

from ..conftest import OPERATOR_TOKEN, created_id
from .conftest import hidden, log_in

Move = Callable[..., Job]


def words(page: str) -> str:
    """The text of *page* without its tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_a_page_for_each_kind_of_job(browser: FlaskClient, jobs: dict[str, str]) -> None:
    log_in(browser, OPERATOR_TOKEN)
    pages = {name: browser.get(f"/jobs/{job_id}").text for name, job_id in jobs.items()}
    told = {name: words(page) for name, page in pages.items()}

    assert "The job is over: it finished" in told["finished"]
    assert "https://example.org/film" in told["finished"]
    assert "ValueError: &lt;no&gt; codec" in told["broken"]
    assert "Traceback (most recent call last)" in told["broken"]
    assert "for a decision, requested by &#39;mail&#39;: Publish?" in told["asking"]
    assert f'href="/approvals?job={jobs["asking"]}"' in pages["asking"]
    assert "It waits for a timer that expires" in told["waiting"]
    assert "Task &#39;encode&#39; queued" in told["queued"]
    for name, page in pages.items():
        buttons = [text for text in ("Cancel", "Retry") if f">{text}</button>" in page]
        assert buttons == (["Retry"] if name == "broken" else [] if name == "finished" else ["Cancel"]), name
        assert ("data-ended" in page) is (name in ("finished", "broken"))
        assert f"/api/v1/jobs/{jobs[name]}</pre>" in page


def test_the_values_of_a_job_as_json_and_its_graph(browser: FlaskClient, operator: FlaskClient, move: Move) -> None:
    log_in(browser, OPERATOR_TOKEN)
    job_id = created_id(operator, initial_data={"text": "</script>"})
    move(GoTo("encode"), End(["out"]))

    values = {part: browser.get(f"/jobs/{job_id}/{part}.json") for part in ("input", "result", "data", "error")}
    graph = browser.get(f"/jobs/{job_id}/graph.svg")

    assert values["input"].json == {"text": "</script>"}
    assert (values["result"].json, values["data"].json, values["error"].json) == (["out"], {}, None)
    assert all(value.mimetype == "application/json" for value in values.values())
    assert graph.mimetype == "image/svg+xml"
    assert "sandbox" in graph.headers["Content-Security-Policy"]


def test_the_children_of_a_fan_out_are_linked_and_listed(
    browser: FlaskClient, operator: FlaskClient, move: Move
) -> None:
    log_in(browser, OPERATOR_TOKEN)
    job_id = created_id(operator, initial_data={})
    child = RunBlueprint("video", {}, {"success": "encode"})
    move(FanOut((child, child), "encode"))

    page = browser.get(f"/jobs/{job_id}").text
    listed = browser.get(f"/jobs?label=parent={job_id}").text

    for child_id in (f"{job_id}-1-1", f"{job_id}-1-2"):
        assert f'href="/jobs/{child_id}"' in page
        assert f"Started child job {child_id} (branch" in words(page)
        assert f'href="/jobs/{child_id}"' in listed
    assert f'href="/jobs?label=parent%3D{job_id}"' in page
    assert f'href="/jobs/{job_id}"' not in listed


def test_a_job_of_another_client_is_like_one_that_does_not_exist(
    app: Flask, alice: FlaskClient, browser: FlaskClient, store: Store
) -> None:
    job_id = created_id(alice)
    log_in(browser, "token-of-bob-in-tests")
    csrf_token = hidden(browser.get("/jobs"), "csrf_token")
    for missing in (job_id, "g0-0000", "..", "a%00b", "x" * 2000):
        for path in ("", "/graph.svg", "/changes", "/stream", "/input.json", "/files", "/files/x"):
            response = browser.get(f"/jobs/{missing}{path}")
            assert (response.status_code, response.mimetype) == (404, "text/html"), (missing, path)
        for action in ("cancel", "retry"):
            assert browser.post(f"/jobs/{missing}/{action}", data={"csrf_token": csrf_token}).status_code == 404
    assert browser.get(f"/jobs/{job_id}/secrets.json").status_code == 404
    job = store.load(job_id)
    assert job is not None
    assert job.status is JobStatus.PENDING


def test_buttons_cancel_a_job_and_run_it_again(
    browser: FlaskClient, operator: FlaskClient, move: Move, store: Store
) -> None:
    log_in(browser, OPERATOR_TOKEN)
    job_id = created_id(operator, initial_data={"n": 1})
    form = {"csrf_token": hidden(browser.get(f"/jobs/{job_id}"), "csrf_token")}

    cancelled = browser.post(f"/jobs/{job_id}/cancel", data=form)
    move()
    move()
    again = browser.post(f"/jobs/{job_id}/retry", data=form)

    assert (cancelled.status_code, cancelled.headers["Location"]) == (303, f"/jobs/{job_id}")
    first, second = store.load(job_id), store.load(again.headers["Location"].removeprefix("/jobs/"))
    assert first is not None
    assert second is not None
    assert first.status is JobStatus.CANCELLED
    assert (second.retry_of, second.initial_data, second.client) == (job_id, {"n": 1}, "operator")
    assert f'href="/jobs/{job_id}"' in browser.get(again.headers["Location"]).text


@pytest.mark.parametrize("action", ["cancel", "retry"])
def test_buttons_need_the_token_of_the_form(
    browser: FlaskClient, operator: FlaskClient, store: Store, action: str
) -> None:
    log_in(browser, OPERATOR_TOKEN)
    job_id = created_id(operator)

    for form in ({}, {"csrf_token": "x"}):
        assert browser.post(f"/jobs/{job_id}/{action}", data=form).status_code == 403

    job = store.load(job_id)
    assert job is not None
    assert job.status is JobStatus.PENDING


def test_the_signal_that_a_job_waits_for_is_sent_by_its_form(
    browser: FlaskClient, operator: FlaskClient, move: Move, store: Store
) -> None:
    form = {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]}
    job_id = created_id(operator)
    move(GoTo("encode"), WaitFor("paid", {"received": "publish"}, form=form))
    log_in(browser, OPERATOR_TOKEN)
    page = browser.get(f"/jobs/{job_id}")
    sent = {"csrf_token": hidden(page, "csrf_token"), "wait": hidden(page, "wait")}

    assert "Send the signal paid" in page.text
    wrong = browser.post(f"/jobs/{job_id}/signal", data={**sent, "data.amount": "7.5"})
    assert (wrong.status_code, 'value="7.5"' in wrong.text) == (422, True)
    assert "amount 7.5 is not of type" in words(wrong.text)
    assert browser.post(f"/jobs/{job_id}/signal", data={**sent, "data.amount": "7"}).status_code == 303
    assert [signal["data"] for signal in store.load(job_id).signals] == [{"amount": 7}]  # type: ignore[union-attr]
    move(End("out"))
    late = browser.post(f"/jobs/{job_id}/signal", data={**sent, "data.amount": "7"})
    assert (late.status_code, "no longer waits for this signal" in late.text) == (409, True)
    assert "Send the signal" not in browser.get(f"/jobs/{job_id}").text
