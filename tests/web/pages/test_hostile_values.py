"""Values that try to run, to reverse text or to be endless: pages show them as text, within bounds."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from flask.testing import FlaskClient

from avtomatika.store import Store

from ..conftest import OPERATOR_TOKEN
from .conftest import log_in
from .hostile import HOSTILE, Move, with_data, with_names

#: Largest page, in bytes.
LARGEST = 500_000


class Page(HTMLParser):
    """Collects the elements of a page that could run code."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[str | None] = []
        self.handlers: list[str] = []
        self.images: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "script":
            self.scripts.append(values.get("src"))
        if tag == "img":
            self.images.append(values.get("src") or "")
        self.handlers += [name for name in values if name.startswith("on")]


def check(browser: FlaskClient, path: str) -> str:
    """Return the page at *path*, which must be bounded and run only the script of the pages."""
    response = browser.get(path)
    assert response.status_code == 200, (path, response.status_code)
    assert len(response.data) <= LARGEST, (path, len(response.data))
    page = Page(response.text)
    assert [str(src).partition("?")[0] for src in page.scripts] == ["/static/pages.js", "/static/trees.js"], path
    assert page.handlers == [], path
    assert all(src.startswith("/") for src in page.images), path
    assert not set("\u202e\u2066\x00\x1b\x85") & set(response.text), path
    return response.text


@pytest.mark.parametrize("name", HOSTILE)
def test_data_of_any_shape_is_shown_as_text_within_bounds(
    name: str, browser: FlaskClient, operator: FlaskClient, move: Move
) -> None:
    log_in(browser, OPERATOR_TOKEN)

    for path in with_data(HOSTILE[name], operator, move):
        check(browser, path)


def test_names_and_errors_are_shown_as_text_too(
    browser: FlaskClient, operator: FlaskClient, move: Move, store: Store, redis_url: str
) -> None:
    log_in(browser, OPERATOR_TOKEN)

    for path in with_names(operator, move, store, redis_url):
        assert "alert(1)" in check(browser, path), path
