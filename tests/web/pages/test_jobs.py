"""The list of jobs: filters, pages, and a number of commands that does not grow with the number of jobs."""

from __future__ import annotations

import re

from flask.testing import FlaskClient

from avtomatika.core.machine import single_task
from avtomatika.store import NewJob, Store

from ..conftest import OPERATOR_TOKEN, created_id, video
from .conftest import log_in


def listed(page: str) -> list[str]:
    """The ids of the jobs in the table of *page*."""
    return re.findall(r'<a class="job mono" href="/jobs/([\w-]+)"', page)


NAMES = ["queued", "dead", "waiting", "asking", "broken", "finished"]


def test_filters(browser: FlaskClient, jobs: dict[str, str]) -> None:
    log_in(browser, OPERATOR_TOKEN)
    for query, names in {
        "": NAMES,
        "status=error": ["broken"],
        "status=waiting_for_worker": ["queued", "dead"],
        "blueprint=video&status=finished": ["finished"],
        "blueprint=nightly": [],
        "label=kind=asking": ["asking"],
        "label=kind=asking+kind=broken": [],
        "client=operator&label=kind=waiting": ["waiting"],
        "client=alice": [],
        "skill=encode": [],
        "status=&blueprint=&skill=&label=&client=&id=": NAMES,
    }.items():
        page = browser.get(f"/jobs?{query}").text

        assert listed(page) == [jobs[name] for name in names], query
        assert ("No job matches" in page) is (not names)

    assert browser.get(f"/jobs?id=+{jobs['asking']}+").headers["Location"] == f"/jobs/{jobs['asking']}"


def test_the_filter_of_the_address_is_that_of_the_form(browser: FlaskClient) -> None:
    log_in(browser, OPERATOR_TOKEN)

    page = browser.get("/jobs?status=failed&blueprint=video&skill=encode&label=a=b&client=alice").text

    assert re.findall(r'<input[^>]*name="(\w+)"[^>]*value="([^"]+)"', page)[1:5] == [
        ("status", "failed"),
        ("skill", "encode"),
        ("label", "a=b"),
        ("client", "alice"),
    ]
    assert "<option selected>video</option>" in page
    assert 'aria-current="true">failed <' in page


def test_a_label_links_to_its_jobs_even_with_spaces_and_equals_signs(
    browser: FlaskClient, operator: FlaskClient
) -> None:
    log_in(browser, OPERATOR_TOKEN)
    wanted = created_id(operator, labels={"title": "a=b & c", "kind": "x"})
    created_id(operator, labels={"title": "a=b"})
    page = browser.get("/jobs").text

    [link] = [link for link in re.findall(r'class="tag" href="([^"]+)"', page) if "%26" in link]

    assert listed(browser.get(link).text) == [wanted]
    assert listed(browser.get(f"{link}+kind=x").text) == [wanted]


def test_a_filter_that_cannot_be_is_an_error_page(browser: FlaskClient) -> None:
    log_in(browser, OPERATOR_TOKEN)
    for query in ("status=sleeping", "label=name", "label==x", "cursor=x"):
        response = browser.get(f"/jobs?{query}")

        assert (response.status_code, response.mimetype) == (422, "text/html")


def test_clients_see_their_own_jobs_only(browser: FlaskClient, alice: FlaskClient, bob: FlaskClient) -> None:
    log_in(browser, "token-of-alice-in-tests")
    own = created_id(alice)
    other = created_id(bob)

    pages = [browser.get(f"/jobs{query}").text for query in ("", "?client=alice", "?status=pending")]

    assert [listed(page) for page in pages] == [[own]] * 3
    assert browser.get("/jobs?client=bob").status_code == 403
    assert all(other not in page for page in (*pages, browser.get("/").text))
    assert 'name="client"' not in pages[0]


def test_older_jobs_are_a_page_away_with_the_same_filter(browser: FlaskClient, store: Store) -> None:
    log_in(browser, OPERATOR_TOKEN)
    made = [store.create(NewJob(plan=video.plan, client="operator", labels={"n": "1"})).job_id for _ in range(70)]

    first = browser.get("/jobs?label=n=1").text
    [link] = re.findall(r'href="([^"]+)">Older jobs', first)
    second = browser.get(link.replace("&amp;", "&")).text

    assert listed(first) + listed(second) == made[::-1]
    assert "Older jobs" not in second


def test_single_tasks_are_listed_by_their_skill(browser: FlaskClient, store: Store) -> None:
    log_in(browser, OPERATOR_TOKEN)
    job_id = store.create(NewJob(plan=single_task.PLAN, client="operator", skill="encode")).job_id

    page = browser.get("/jobs?skill=encode").text

    assert listed(page) == [job_id]
    assert 'encode <span class="tag">task</span>' in page
