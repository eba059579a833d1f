"""The approval page: its content, accepted and rejected forms."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import time

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from avtomatika.core.blueprint.action_types import AwaitApproval, End, GoTo
from avtomatika.core.job import Job
from avtomatika.core.signing import GroupSecret
from avtomatika.store import Store
from avtomatika.web.approval_links import ApprovalLink
from avtomatika.web.sealing import seal

from ..conftest import created_id, problem

ASK = AwaitApproval("mail", "Publish <script>alert(1)</script>?", {"approved": "publish", "rejected": "failed"})

Move = Callable[..., Job]


@pytest.fixture
def job_id(alice: FlaskClient, move: Move) -> str:
    """A job of alice's that asks."""
    job_id = created_id(alice)
    move(GoTo("encode"), ASK)
    return job_id


@pytest.fixture
def link(alice: FlaskClient, job_id: str) -> str:
    """Return the value of ``link=`` in the address."""
    return made(alice, job_id)


def made(client: FlaskClient, job_id: str, **body: object) -> str:
    response = client.post(f"/api/v1/jobs/{job_id}/approval-link", json=body)
    assert response.status_code == 200, response.text
    base, _, link = response.json["url"].partition("?link=")
    assert base == "http://localhost/approve"
    return str(link)


def post(client: FlaskClient, link: str, **fields: str) -> TestResponse:
    form = {"link": link, "decision": "approved", "name": "Ada L.", "comment": ""} | fields
    return client.post("/approve", data=form)


def test_the_page_shows_the_question_escaped_and_runs_nothing(anybody: FlaskClient, link: str) -> None:
    response = anybody.get("/approve", query_string={"link": link})

    assert response.status_code == 200
    assert "Publish &lt;script&gt;alert(1)&lt;/script&gt;?" in response.text
    assert "<script" not in response.text
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cache-Control"] == "no-store"
    assert re.findall(r'name="decision" value="(\w+)"', response.text) == ["approved", "rejected"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_looking_decides_nothing(anybody: FlaskClient, alice: FlaskClient, job_id: str, link: str, method: str) -> None:
    query = {"link": link, "decision": "approved", "name": "a scanner of mails"}

    anybody.open("/approve", method=method, query_string=query)

    assert alice.get(f"/api/v1/jobs/{job_id}").json["decision"] is None


def test_who_has_the_link_decides_under_a_name(anybody: FlaskClient, link: str, move: Move) -> None:
    response = post(anybody, link, name="  Ada\t L. ", comment=" well done ")
    decided = move(End("out"))

    assert (response.status_code, "Thank you, Ada L." in response.text) == (200, True)
    assert decided.state_history["approval"] == {
        "decision": "approved",
        "by": "link: Ada L.",
        "comment": "well done",
    }


def test_a_link_that_was_used_tells_who_decided(anybody: FlaskClient, link: str, move: Move) -> None:
    post(anybody, link)

    before = anybody.get("/approve", query_string={"link": link})
    move(End("out"))
    after = anybody.get("/approve", query_string={"link": link})
    second = post(anybody, link, decision="rejected", name="Bob")

    for response in (before, after, second):
        assert response.status_code == 409
        assert "Already decided: approved by link: Ada L." in response.text
        assert "<form" not in response.text


def test_of_many_with_the_link_exactly_one_decides(app: Flask, link: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(app.test_client(), link).status_code, range(16)))

    assert sorted(answers) == [200] + [409] * 15


@pytest.mark.parametrize(
    "spoil",
    [
        lambda link: "",
        lambda link: "x" + link,
        lambda link: link[:-1],
        lambda link: link.replace(".", "", 1),
        lambda link: link + "é",
        lambda link: "é" + link,
        lambda link: seal(GroupSecret("another group's"), "approval", ["g0-1.1", 99999999999999]),
    ],
)
def test_what_was_not_made_here_is_refused(anybody: FlaskClient, link: str, spoil: Callable[[str], str]) -> None:
    looked = anybody.get("/approve", query_string={"link": spoil(link)})
    decided = post(anybody, spoil(link))

    assert (looked.status_code, decided.status_code) == (403, 403)
    assert "Not allowed" in looked.text


def test_what_was_sealed_for_something_else_is_refused(anybody: FlaskClient, store: Store, job_id: str) -> None:
    forged = seal(store.keyring.secret, "session", [f"{job_id}.1", 99999999999999])

    assert post(anybody, forged).status_code == 403


def test_an_expired_link_is_gone(anybody: FlaskClient, alice: FlaskClient, job_id: str, store: Store) -> None:
    job = store.load(job_id)
    assert job is not None
    assert job.wait is not None
    expired = ApprovalLink(job.wait.token, round(time() * 1000) - 1).sealed(store.keyring.secret)

    response = post(anybody, expired)

    assert (response.status_code, "This link has expired; ask for another one." in response.text) == (410, True)
    assert alice.get(f"/api/v1/jobs/{job_id}").json["decision"] is None


def test_a_link_answers_no_later_approval(anybody: FlaskClient, alice: FlaskClient, job_id: str, move: Move) -> None:
    first = made(alice, job_id)
    alice.post(f"/api/v1/jobs/{job_id}/approve", json={"decision": "approved"})
    move(AwaitApproval("mail", "Really?", {"approved": "publish"}))

    response = post(anybody, first)

    assert (response.status_code, "approved by alice" in response.text) == (409, True)
    assert alice.get(f"/api/v1/jobs/{job_id}").json["decision"] is None
    assert post(anybody, made(alice, job_id)).status_code == 200


def test_a_job_that_waits_no_more_says_so(anybody: FlaskClient, alice: FlaskClient, job_id: str, move: Move) -> None:
    link = made(alice, job_id)
    alice.post(f"/api/v1/jobs/{job_id}/cancel")
    move()

    response = anybody.get("/approve", query_string={"link": link})

    assert (response.status_code, "it is cancelled" in response.text) == (409, True)


def test_a_link_to_a_job_that_is_gone_says_so(anybody: FlaskClient, store: Store) -> None:
    link = ApprovalLink("g0-01M854CG0886N24BD575GNDYWD.3", round(time() * 1000) + 60_000).sealed(store.keyring.secret)

    response = anybody.get("/approve", query_string={"link": link})

    assert (response.status_code, "The job has been deleted." in response.text) == (410, True)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"name": " "}, "Please say who you are."),
        ({"name": "x" * 65}, "A name has at most 64 printable characters."),
        ({"name": "Ada\u202e"}, "A name has at most 64 printable characters."),
        ({"comment": "x" * 2001}, "The comment has 2001 characters; at most 2000 are kept."),
        ({"decision": "perhaps"}, "&#39;perhaps&#39; is not one of the decisions approved, rejected"),
    ],
)
def test_what_does_not_fit_is_told_and_what_was_typed_stays(
    anybody: FlaskClient, alice: FlaskClient, job_id: str, link: str, fields: dict[str, str], fault: str
) -> None:
    response = post(anybody, link, **({"comment": "a <long> thought"} | fields))

    assert (response.status_code, fault in response.text) == (422, True)
    assert "comment" in fields or "a &lt;long&gt; thought</textarea>" in response.text
    assert alice.get(f"/api/v1/jobs/{job_id}").json["decision"] is None


def test_a_link_is_good_as_long_as_was_asked_for_and_no_longer_than_the_approval(
    alice: FlaskClient, job_id: str, move: Move, store: Store
) -> None:
    limited_id = created_id(alice)
    move(GoTo("encode"), AwaitApproval("mail", "?", {"approved": "publish"}, 3600))

    def lasts(job_id: str, **body: object) -> float:
        link = ApprovalLink.opened(made(alice, job_id, **body), store.keyring.secret, now_ms=time() * 1000)
        return link.expires_ms / 1000 - time()

    assert lasts(job_id) == pytest.approx(7 * 24 * 3600, abs=60)
    assert lasts(job_id, expires_in=90) == pytest.approx(90, abs=60)
    assert lasts(limited_id) == pytest.approx(3600, abs=60)


def test_links_are_made_only_by_whoever_may_decide_and_only_for_what_asks(
    alice: FlaskClient, bob: FlaskClient, anybody: FlaskClient, job_id: str
) -> None:
    path = f"/api/v1/jobs/{job_id}/approval-link"

    problem(bob.post(path, json={}), 404, "not_found")
    problem(anybody.post(path, json={}), 401, "unauthorized")
    problem(alice.post(path, json={"expires_in": 0}), 422, "invalid_request")
    problem(alice.post(f"/api/v1/jobs/{created_id(alice)}/approval-link", json={}), 409, "conflict")


def test_no_log_holds_a_link(
    anybody: FlaskClient, link: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no luck")

    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(Store, "approval", broken)

    responses = [anybody.get("/approve", query_string={"link": link}), post(anybody, link)]

    assert [response.status_code for response in responses] == [500, 500]
    assert "RuntimeError: no luck" in caplog.text
    assert link not in caplog.text


def test_the_page_asks_for_the_data_of_a_form(anybody: FlaskClient, alice: FlaskClient, move: Move) -> None:
    form = {"type": "object", "properties": {"amount": {"type": "integer", "default": 7}}, "required": ["amount"]}
    job_id = created_id(alice)
    move(GoTo("encode"), AwaitApproval("mail", "How much?", {"approved": "publish", "rejected": "failed"}, form=form))
    link = made(alice, job_id)

    asked = anybody.get("/approve", query_string={"link": link}).text
    missing = post(anybody, link)
    decided = post(anybody, link, **{"data.amount": "3"})

    assert re.search(r'<input name="data.amount" value="7" inputmode="decimal" required', asked)
    assert (missing.status_code, decided.status_code) == (422, 200)
    assert "amount is missing" in missing.text
    assert move(End("out")).state_history["decision_data"] == {"amount": 3}
