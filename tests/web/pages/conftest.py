"""A browser without scripts, and logging in with it."""

from __future__ import annotations

import html
import re

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse


@pytest.fixture
def browser(app: Flask) -> FlaskClient:
    """A client that is not logged in: no token in a header, but cookies."""
    return app.test_client()


def log_in(browser: FlaskClient, token: str) -> TestResponse:
    csrf_token = hidden(browser.get("/login"), "csrf_token")
    return browser.post("/login", data={"token": token, "csrf_token": csrf_token})


def hidden(response: TestResponse, name: str) -> str:
    """The (first) hidden field called *name*."""
    found = re.search(rf'type="hidden" name="{name}" value="([^"]*)"', response.text)
    assert found is not None, response.text
    return html.unescape(found[1])
