"""Chromium, driven by Playwright: pages with what they reported, and the findings of axe about accessibility."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
#: Impacts of findings that fail a test.
_SERIOUS = ("serious", "critical")


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """Start the Chromium of the system. Skips the test if it, or Playwright, is not installed."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium: apt install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: make test installs it")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


class Reports:
    """What a page reported: errors and warnings of its console (also of its content security policy), and failed
    requests."""

    def __init__(self, page: Page) -> None:
        self.found: list[str] = []
        page.on("console", lambda message: message.type in ("error", "warning") and self._add(message.text))
        page.on("pageerror", lambda error: self._add(str(error)))
        page.on("response", lambda response: response.status >= 400 and self._add(f"{response.status} {response.url}"))

    def _add(self, text: str) -> None:
        self.found.append(text)


def axe_findings(page: Page, *rules: str) -> list[str]:
    """Return the serious findings of axe about *page*, with the elements; of all rules, or of *rules* alone."""
    if not page.evaluate("typeof axe === 'object'"):
        spec = find_spec("axe_playwright_python")
        if spec is None or spec.origin is None:
            pytest.skip("axe is not installed: make test installs it")
        page.evaluate((Path(spec.origin).parent / "axe.min.js").read_text())
    options = {"resultTypes": ["violations"], **({"runOnly": rules} if rules else {})}
    result: dict[str, Any] = page.evaluate("options => axe.run(document, options)", options)
    return [
        f"{each['id']} ({each['impact']}): {node['html'][:160]} {node['failureSummary'].splitlines()[-1].strip()}"
        for each in result["violations"]
        if each["impact"] in _SERIOUS
        for node in each["nodes"][:3]
    ]
