"""The HTTP API, as the commands reach it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from avtomatika.client import ApiClient
from avtomatika.errors import InvalidRequest, NotFound, SettingsError
from avtomatika.settings import Settings

from .folder import announced, secret

C = TypeVar("C", bound=Callable[..., Any])


def api_options(command: C) -> C:
    """Add to a group where the API is, and what to show it."""
    url = click.option("--url", envvar="AVTOMATIKA_URL", help="Where the API is.  [default: the local port]")
    token = click.option(
        "--token", envvar="CLIENT_TOKEN", help="Client token.  [default: the one of the `up` that runs here]"
    )
    return url(token(command))


def api_client(url: str | None = None, token: str | None = None) -> ApiClient:
    """A client of *url*, else of the ``up`` that runs in this folder, whose token it has, else of the local port."""
    here = announced() if url is None else None
    if here is not None:
        return ApiClient(str(here["url"]), token or secret("client_token"))
    if not token:
        raise SettingsError("CLIENT_TOKEN is not set, and no avtomatika up runs here")
    return ApiClient(url or f"http://localhost:{Settings.from_environment().port}", token)


def creation_url(api: ApiClient, blueprint: str) -> str:
    """Where jobs of *blueprint* are posted to; NotFound with the names that are like it."""
    urls = {each["name"]: each.get("url") for each in api.blueprints()}
    if blueprint not in urls:
        raise NotFound("blueprint", blueprint, known=urls)
    if urls[blueprint] is None:
        raise InvalidRequest(f"blueprint {blueprint!r} has no api_endpoint: its jobs are not created over HTTP")
    return str(urls[blueprint])
