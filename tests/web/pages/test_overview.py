"""The overview: figures for operators, and for clients their own jobs."""

from __future__ import annotations

from flask.testing import FlaskClient

from ..conftest import OPERATOR_TOKEN, created_id
from .conftest import log_in


def test_an_operator_sees_what_is_wrong_with_a_link_to_its_page(browser: FlaskClient, alice: FlaskClient) -> None:
    created_id(alice)
    alice.post("/api/v1/tasks/encode", json={"params": {}})
    log_in(browser, OPERATOR_TOKEN)

    page = browser.get("/").text

    assert "No worker with the skill &#39;encode&#39; is available." in page
    assert 'href="/queues/encode"' in page
    assert browser.get("/queues/encode").status_code == 200


def test_the_charts_count_the_jobs_of_the_last_hour_and_day(browser: FlaskClient, alice: FlaskClient) -> None:
    for _ in range(3):
        created_id(alice)
    log_in(browser, OPERATOR_TOKEN)

    for span in ("hour", "day"):
        page = browser.get(f"/?span={span}").text

        assert f"The last {span}" in page
        assert '<span class="quiet">created</span> <b>3</b>' in page
        assert f'aria-label="created in the last {span}: at most 3"' in page


def test_a_client_sees_its_own_jobs_and_no_figures(browser: FlaskClient, alice: FlaskClient, bob: FlaskClient) -> None:
    hers, his = created_id(alice), created_id(bob)
    log_in(browser, "token-of-alice-in-tests")

    page = browser.get("/").text

    assert hers in page
    assert his not in page
    assert "The last hour" not in page
