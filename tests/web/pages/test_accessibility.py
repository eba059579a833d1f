"""The pages in Chromium: for screen readers, with enough contrast, on narrow screens; their data runs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from flask.testing import FlaskClient

from avtomatika.store import Store

from ...support.browser import Reports, axe_findings
from .conftest import login_link
from .hostile import HOSTILE, Move, with_data, with_names

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LISTS = ("/", "/jobs", "/approvals", "/blueprints", "/workers", "/queues", "/schedules", "/dead-letters")
NARROW = {"width": 390, "height": 844}


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_axe_finds_nothing_serious_in_light_and_dark(
    url: str, jobs: dict[str, str], operator: FlaskClient, chromium: Browser
) -> None:
    for name, blueprint in {"report": "nightly", "poll": "video"}.items():
        assert (
            operator.put(f"/api/v1/schedules/{name}", json={"blueprint": blueprint, "interval": "1h"}).status_code
            == 200
        )
    operator.post("/api/v1/schedules/poll/pause", json={})
    operator.post("/api/v1/schedules/report/run", json={})
    page = chromium.new_page()
    reports = Reports(page)
    page.goto(login_link(url, "/"))
    found = {}
    paths = [*LISTS, "/blueprints/video", "/queues/encode", *(f"/jobs/{job_id}" for job_id in jobs.values())]
    for path in (*paths, "/docs", "/login"):
        page.goto(f"{url}{path}")
        assert page.locator("h1").count() == 1, path
        found[path] = axe_findings(page)
        page.emulate_media(color_scheme="dark")
        found[f"{path}, dark"] = axe_findings(page, "color-contrast")
        page.emulate_media(color_scheme="light")
    page.close()

    assert {path: findings for path, findings in found.items() if findings} == {}
    assert reports.found == []


@pytest.mark.faults
def test_hostile_values_run_nothing_and_fit_a_narrow_screen(
    url: str, operator: FlaskClient, move: Move, store: Store, redis_url: str, chromium: Browser
) -> None:
    paths = [*with_data(HOSTILE["text"], operator, move), *with_names(operator, move, store, redis_url)]
    page = chromium.new_page(viewport=NARROW)
    reports = Reports(page)
    page.on("dialog", lambda dialog: reports.found.append(dialog.message))
    page.goto(login_link(url, "/"))
    widths = {}
    for path in dict.fromkeys(paths):
        page.goto(f"{url}{path}")
        page.eval_on_selector_all("details", "all => all.forEach(each => each.open = true)")
        widths[path] = page.evaluate("document.documentElement.scrollWidth")
    page.close()

    assert {path: width for path, width in widths.items() if width > NARROW["width"]} == {}
    assert reports.found == []
