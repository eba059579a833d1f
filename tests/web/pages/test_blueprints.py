"""The pages of blueprints: the list, the graph, and the form that starts a job."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from flask import Flask
from flask.testing import FlaskClient

from avtomatika import Blueprint, broker
from avtomatika.core.blueprint.action_types import End, GoTo, Wait
from avtomatika.core.job import Job
from avtomatika.store import Store
from avtomatika.tokens import Clients
from avtomatika.web.app import create_app

from ..conftest import OPERATOR_TOKEN, PLANS, created_id, video
from .conftest import hidden, log_in


@dataclass
class Film:
    title: str
    minutes: int = 90
    quality: Literal["low", "high"] = "high"
    is_public: bool = False
    tags: list[str] | None = None


film = Blueprint(name="film", api_endpoint="jobs/film", input=Film)


@film.handler(is_start=True, is_end=True)
def store_film() -> None: ...


@pytest.fixture
def app(store: Store, clients: Clients, redis_url: str) -> Flask:
    def declare(*_: str) -> None:
        with broker.connect(redis_url) as connection:
            broker.declare(connection, [*PLANS, film.plan])

    return create_app(store=store, plans=[*PLANS, film.plan], clients=clients, declare=declare)


def send(browser: FlaskClient, name: str, **fields: str) -> Any:
    csrf_token = hidden(browser.get(f"/blueprints/{name}"), "csrf_token")
    form = {f"data.{field}": value for field, value in fields.items()}
    return browser.post(f"/blueprints/{name}/jobs", data={"csrf_token": csrf_token, **form})


def test_blueprints_are_listed_with_their_pages(browser: FlaskClient, alice: FlaskClient) -> None:
    log_in(browser, "token-of-alice-in-tests")

    listed = browser.get("/blueprints").text

    assert re.findall(r'class="job" href="([^"]+)"', listed) == [
        f"/blueprints/{name}" for name in ("film", "nightly", "video")
    ]
    page = browser.get("/blueprints/video").text
    assert "/api/v1/jobs/video" in page
    assert 'src="/blueprints/video/graph.svg"' in page
    assert browser.get("/blueprints/video/graph.svg?live=yes").mimetype == "image/svg+xml"


@pytest.mark.parametrize("path", ["/blueprints/other", "/blueprints/other/graph.svg", "/blueprints/_tasks"])
def test_an_unknown_blueprint_is_a_page_that_says_so(browser: FlaskClient, path: str) -> None:
    log_in(browser, OPERATOR_TOKEN)

    response = browser.get(path)

    assert (response.status_code, response.mimetype) == (404, "text/html")


def test_the_form_has_a_field_with_its_default_for_each_field_of_the_input(browser: FlaskClient) -> None:
    log_in(browser, OPERATOR_TOKEN)

    page = browser.get("/blueprints/film").text

    assert re.search(r'<input name="data.title" value="" required', page)
    assert re.search(r'<input name="data.minutes" value="90" inputmode="decimal"', page)
    assert "<option>low</option><option selected>high</option>" in page
    assert '<input type="checkbox" name="data.is_public">' in page
    assert '<textarea name="data.tags"' in page


def test_the_form_starts_a_job_of_the_client(browser: FlaskClient, store: Store) -> None:
    log_in(browser, "token-of-alice-in-tests")

    response = send(browser, "film", title=" Dune ", minutes="", quality="low", is_public="on", tags='["new"]')
    without_type = send(browser, "video", **{"": '{"quality": "low"}'})

    assert (response.status_code, without_type.status_code) == (303, 303)
    jobs = [store.load(each.headers["Location"].removeprefix("/jobs/")) for each in (response, without_type)]
    assert [(job.client, job.initial_data) for job in jobs if job is not None] == [
        ("alice", {"title": " Dune ", "minutes": 90, "quality": "low", "is_public": True, "tags": ["new"]}),
        ("alice", {"quality": "low"}),
    ]


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"title": "", "minutes": "90"}, "title"),
        ({"title": "Dune", "minutes": "long"}, "minutes: is not JSON"),
        ({"title": "Dune", "minutes": "1.5"}, "minutes"),
        ({"title": "Dune", "quality": "best"}, "quality"),
        ({"title": "Dune", "tags": "{"}, "tags: is not JSON"),
    ],
)
def test_wrong_input_is_shown_again_with_what_is_wrong(
    browser: FlaskClient, store: Store, fields: dict[str, str], fault: str
) -> None:
    log_in(browser, OPERATOR_TOKEN)

    response = send(browser, "film", **fields)

    assert response.status_code == 422
    [told] = re.findall(r'<p class="fault" role="alert">([^<]+)', response.text)
    assert fault in told
    assert f'name="data.title" value="{fields["title"]}"' in response.text


def test_operators_see_jobs_by_state_and_plan_and_how_long_they_take(
    browser: FlaskClient, alice: FlaskClient, move: Callable[..., Job], app: Flask
) -> None:
    for _ in range(3):
        created_id(alice)
        move(GoTo("encode"), End("done"))
    waiting = created_id(alice)
    move(GoTo("encode"), Wait("publish", seconds=600))
    created_id(alice)
    other = app.test_client()
    log_in(other, "token-of-alice-in-tests")
    log_in(browser, OPERATOR_TOKEN)

    page = browser.get("/blueprints/video").text
    cells = [re.sub(r"<[^>]+>", " ", row).split() for row in re.findall(r"<tr>.*?</tr>", page, re.DOTALL)]
    rows = {row[0]: row[1:] for row in cells if row}

    assert "<b>2</b><span>open jobs" in page
    assert "<b>3</b><span>ended jobs measured" in page
    assert rows["start"][0] == "1"
    assert rows["encode"][0] == "1"
    assert rows["encode"][2] == "ms"
    assert rows[video.plan.plan_hash][:5] == ["this", "one", "2", "serve", "it"]
    assert f'href="/jobs/{waiting}"' in page
    assert f'href="/jobs/{waiting}"' not in other.get("/blueprints/video").text


def test_the_form_needs_its_token(browser: FlaskClient) -> None:
    log_in(browser, OPERATOR_TOKEN)

    response = browser.post("/blueprints/film/jobs", data={"data.title": "Dune"})

    assert response.status_code == 403
    assert "film" not in browser.get("/jobs").text.partition("<table")[2]
