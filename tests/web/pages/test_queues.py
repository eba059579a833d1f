"""The pages of operators: queues, dead letters, workers; and the overview, which shows what is wrong with them."""

from __future__ import annotations

import html
import re

from flask.testing import FlaskClient

from avtomatika.store import Store

from ..conftest import OPERATOR_TOKEN
from .conftest import hidden, log_in

PATHS = ("/queues", "/queues/encode", "/dead-letters", "/workers")


def figures(page: str) -> dict[str, str]:
    """The figures of the page of a queue by their names."""
    return {name: number for number, name in re.findall(r"<b>([\d,]+)</b><span>([^<]+)</span>", page)}


def test_these_pages_are_for_operators(browser: FlaskClient, alice: FlaskClient) -> None:
    log_in(browser, "token-of-alice-in-tests")
    csrf_token = hidden(browser.get("/jobs"), "csrf_token")

    answers = [browser.get(path) for path in PATHS]
    answers += [
        browser.post(path, data={"csrf_token": csrf_token})
        for path in ("/queues/encode/purge", "/queues/encode/pause", "/dead-letters")
    ]

    assert {(answer.status_code, answer.mimetype) for answer in answers} == {(403, "text/html")}
    assert "Queues" not in browser.get("/").text


def test_a_queue_is_paused_and_resumed(browser: FlaskClient, jobs: dict[str, str], store: Store) -> None:
    log_in(browser, OPERATOR_TOKEN)
    csrf_token = hidden(browser.get("/queues/encode"), "csrf_token")

    refused = browser.post("/queues/encode/pause")
    browser.post("/queues/encode/pause", data={"csrf_token": csrf_token})
    page, listed, overview = (browser.get(path).text for path in ("/queues/encode", "/queues", "/"))
    paused_by = store.queues.find("encode").paused_by
    browser.post("/queues/encode/resume", data={"csrf_token": csrf_token})

    assert (refused.status_code, paused_by) == (403, "operator")
    assert "by operator: no consumer takes from it" in page
    assert "paused</span>" in listed
    assert 'href="/queues/encode"' in overview
    assert store.queues.find("encode").paused_by is None


def test_a_worker_is_drained_and_resumed(browser: FlaskClient, store: Store) -> None:
    store.registry.register("w-1", {"type": "", "skills": [{"name": "encode", "schema": {}}]})
    store.registry.beat("w-1", {"tasks": [{"task_id": "g0-1.2.0", "skill": "encode", "running_ms": 90_000}]})
    log_in(browser, OPERATOR_TOKEN)
    form = {"csrf_token": hidden(browser.get("/workers"), "csrf_token")}

    refused = browser.post("/workers/w-1/drain")
    before = browser.get("/workers").text
    browser.post("/workers/w-1/drain", data=form)
    after, drained = browser.get("/workers").text, store.registry.find("w-1")
    browser.post("/workers/w-1/resume", data=form)

    assert refused.status_code == 403
    assert re.search('href="/jobs/g0-1">encode</a> ?<span class="quiet"> ?for 1 min 3', before)
    assert 'action="/workers/w-1/drain"' in before
    assert (drained.status, drained.drain_requested_by) == ("draining", "operator")
    assert "drained by operator" in after
    assert 'action="/workers/w-1/resume"' in after
    assert store.registry.find("w-1").status == "idle"


def test_queues_are_shown_with_their_next_messages_and_purged(
    browser: FlaskClient, jobs: dict[str, str], store: Store
) -> None:
    log_in(browser, OPERATOR_TOKEN)

    listed = browser.get("/queues").text
    page = browser.get("/queues/encode").text
    unchanged = browser.post("/queues/encode/purge")
    purged = browser.post("/queues/encode/purge", data={"csrf_token": hidden(browser.get("/queues"), "csrf_token")})

    assert "/queues/encode" in re.findall(r'class="job mono" href="([^"]+)"', listed)
    assert listed.count("<tr>") < browser.get("/queues?idle=yes").text.count("<tr>")
    assert (figures(page)["waiting"], figures(page)["dead letters"]) == ("1", "1")
    assert jobs["queued"] in page
    assert "it kills its worker" in page
    assert (unchanged.status_code, purged.headers["Location"]) == (403, "/queues/encode")
    assert figures(browser.get("/queues/encode").text)["waiting"] == "0"
    missing = browser.get("/queues/other")
    assert (missing.status_code, missing.mimetype) == (404, "text/html")


def test_dead_letters_are_requeued_and_deleted(browser: FlaskClient, jobs: dict[str, str]) -> None:
    log_in(browser, OPERATOR_TOKEN)
    page = browser.get("/dead-letters")
    [letter] = re.findall(r'name="letter" value="([^"]+)"', page.text)
    form = {"csrf_token": hidden(page, "csrf_token"), "letter": letter}

    refused = browser.post("/dead-letters", data={"letter": letter, "action": "drop"})
    requeued = browser.post("/dead-letters", data={**form, "action": "requeue"}, follow_redirects=True)
    again = browser.post("/dead-letters", data={**form, "action": "drop"})

    assert jobs["dead"] in page.text
    assert "it kills its worker" in page.text
    assert refused.status_code == 403
    assert "1 requeued." in requeued.text
    assert "There are no dead letters." in requeued.text
    assert (again.status_code, again.mimetype) == (404, "text/html")
    assert figures(browser.get("/queues/encode").text)["waiting"] == "2"


def test_workers_are_shown_with_their_skills_and_load(browser: FlaskClient, jobs: dict[str, str], store: Store) -> None:
    log_in(browser, OPERATOR_TOKEN)
    one = browser.get("/workers").text
    store.registry.register("worker-2", {"skills": [], "version": "1.3"})

    two = browser.get("/workers").text

    assert re.search(
        r'pill run">busy</span><br><span [^>]+><time [^>]+>[^<]+</time></span></td>\s*<td><b>worker-1</b>', one
    )
    assert 'href="/jobs?skill=encode">encode</a>' in one
    assert "2 / 4" in one
    assert "in use" in one
    assert "several versions" not in one
    assert "Workers of several versions run: 1.2, 1.3." in two


def test_the_overview_shows_failures_the_newest_jobs_and_what_is_wrong(
    browser: FlaskClient, jobs: dict[str, str]
) -> None:
    log_in(browser, OPERATOR_TOKEN)

    page = html.unescape(browser.get("/").text)

    failed, _, newest = page.partition('id="recent"')
    assert f'href="/jobs/{jobs["broken"]}"' in failed.partition('id="failed"')[2]
    assert all(f'href="/jobs/{job_id}"' in newest for job_id in jobs.values())
    assert re.search(r"1 dead letter", failed)
    assert 'href="/dead-letters' in failed.partition("<main")[2]
