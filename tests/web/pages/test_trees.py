"""JSON trees in Chromium: copying values and paths, searching in all of a value, by pointer and keyboard."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from flask.testing import FlaskClient

from avtomatika.core.blueprint.action_types import End, GoTo
from avtomatika.core.job import Job

from ...support.browser import Reports, axe_findings
from ..conftest import created_id
from .conftest import login_link

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DATA: dict[str, Any] = {
    "a": 1,
    "title": "A film",
    "nested": {"deep": {"deeper": {"needle": "x <b>y</b>"}}},
    "large": "a" * 1_000_000 + "needle",
    "list": [{"n": n} for n in range(250)],
    "odd key": {"exe\u202egnp": True},
    "big": 2**63 - 1,
}
PATIENCE_MS = 30_000


@pytest.fixture
def page(url: str, chromium: Browser, operator: FlaskClient, move: Callable[..., Job]) -> Iterator[Page]:
    """The page of a job whose input is DATA."""
    job_id = created_id(operator, initial_data=json.loads(json.dumps(DATA)))
    move(GoTo("encode"), End({"url": "https://example.org"}))
    context = chromium.new_context(permissions=["clipboard-read", "clipboard-write"])
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    reports = Reports(page)
    page.goto(login_link(url, f"/jobs/{job_id}"))
    page.locator("#value-input .tree-bar").wait_for()
    yield page
    context.close()
    assert reports.found == []


def copied(page: Page) -> str:
    page.locator("#value-input [role=status]").get_by_text("Copied").wait_for()
    return str(page.evaluate("navigator.clipboard.readText()"))


def key(page: Page, name: str) -> Any:
    return page.locator("#value-input .key").get_by_text(f"{name}:", exact=True)


def test_the_whole_value_is_copied_as_it_is(page: Page) -> None:
    page.locator("#value-input .tree-bar").get_by_role("button", name="Copy").click()

    assert json.loads(copied(page)) == DATA


@pytest.mark.parametrize(
    ("name", "what", "expected"),
    [
        ("title", "value", "A film"),
        ("large", "value", DATA["large"]),
        ("odd key", "path", '$["odd key"]'),
        ("deep", "path", "$.nested.deep"),
        ("big", "value", str(2**63 - 1)),
        ("odd key", "value", json.dumps(DATA["odd key"], indent=2, ensure_ascii=False)),
    ],
)
def test_the_value_or_the_path_of_an_item_is_copied(page: Page, name: str, what: str, expected: str) -> None:
    key(page, name).click()
    page.get_by_role("button", name=f"Copy {what}").click()

    assert copied(page) == expected


def test_the_keyboard_moves_opens_and_copies(page: Page) -> None:
    key(page, "a").focus()
    for pressed in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowDown", "ArrowRight", "ArrowDown", "p"):
        page.keyboard.press(pressed)

    assert copied(page) == "$.nested.deep.deeper"


def test_a_search_finds_what_is_folded_cut_or_not_shown(page: Page) -> None:
    field = page.locator("#value-input input[type=search]")
    status = page.locator("#value-input [role=status]")

    field.fill("NEEDLE")
    status.get_by_text("2 matches").wait_for()

    assert page.locator("#value-input .found").count() == 2
    assert key(page, "needle").is_visible()
    assert not key(page, "title").is_visible()
    assert page.evaluate("CSS.highlights.get('found').size") == 1
    field.press("Enter")
    status.get_by_text("1 of 2").wait_for()
    assert axe_findings(page, "wcag2a", "wcag2aa") == []

    field.fill("249")  # the last of a long list
    status.get_by_text("1 match, 1 in parts that are not shown: see JSON").wait_for()
    field.fill("")
    key(page, "title").wait_for()


def test_the_data_of_the_history_are_a_tree_too(page: Page) -> None:
    page.locator("#history details[id]").last.locator("summary").first.click()
    page.locator("#history .tree-bar").get_by_role("button", name="Copy").click()

    page.locator("#history [role=status]").get_by_text("Copied").wait_for()
    assert json.loads(page.evaluate("navigator.clipboard.readText()"))["result"] == {"url": "https://example.org"}
