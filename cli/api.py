"""Connect commands to the HTTP API or, without one, directly to the server.

Nothing is resolved before a command runs, so that ``--help`` works anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any, TypeVar

import click

from avtomatika import environment
from avtomatika.client import Client
from avtomatika.errors import InvalidRequestError, NotFoundError, SettingsError, UnavailableError
from avtomatika.local_installation import announced
from avtomatika.settings import Settings

from .direct_client import DirectClient
from .embedded import is_running
from .environment import join_local
from .var_folder import secret

C = TypeVar("C", bound=Callable[..., Any])
K = TypeVar("K", bound=Client | DirectClient)
#: The client of commands for operators.
OperatorApi = Client | DirectClient

_NOTHING_FOUND = (
    "no API and no server found. Set AVTOMATIKA_URL and CLIENT_TOKEN (or --url and --token) to use the "
    "HTTP API, REDIS_URL to use the server directly, or start one here with:  avtomatika up"
)


def api_options(command: C) -> C:
    """Add ``--url`` and ``--token`` to a group."""
    return _options(
        command,
        {"envvar": "AVTOMATIKA_URL", "help": "URL of the API.  [default: the local port]"},
        {"envvar": "CLIENT_TOKEN", "help": "Client token.  [default: that of the running `avtomatika up`]"},
    )


def pass_api(command: C) -> C:
    """Pass a Client to *command*, which takes ``--url`` and ``--token`` like its group."""
    return _passing(command, api_client)


def pass_operations(command: C) -> C:
    """The same for commands that also work directly on the server: pass a Client or a DirectClient."""
    return _passing(command, operations)


def api_client(url: str | None = None, token: str | None = None) -> Client:
    """A client for *url*, else for the ``up`` that runs in this folder (with its token), else for the servers of
    ``ORCHESTRATORS_CONFIG``, else for the local port."""
    here = announced() if url is None else None
    if here is not None:
        return Client(str(here["url"]), token or secret("client_token"))
    if url is None and environment.text("ORCHESTRATORS_CONFIG") is not None:
        return Client.from_environment(token)
    if not token and url is not None:
        raise SettingsError("CLIENT_TOKEN is not set, and --token was not given")
    if not token:
        raise SettingsError(
            "CLIENT_TOKEN is not set, and avtomatika up does not run here: set AVTOMATIKA_URL and CLIENT_TOKEN, or use "
            "--url and --token"
        )
    return Client(url or f"http://localhost:{Settings.from_environment().port}", token)


def operations(url: str | None = None, token: str | None = None) -> Client | DirectClient:
    """A Client if *url* is given or no server is configured or running here, else a DirectClient."""
    if url is None and (Settings.from_environment().redis_url is not None or is_running()):
        return DirectClient(join_local())
    if url is None and not token and environment.text("ORCHESTRATORS_CONFIG") is None:
        raise UnavailableError(_NOTHING_FOUND)
    return api_client(url, token)


def creation_url(api: Client, blueprint: str) -> str:
    """Return the URL that jobs of *blueprint* are posted to; NotFoundError suggests similar names."""
    urls = {each["name"]: each.get("url") for each in api.blueprints()}
    if blueprint not in urls:
        raise NotFoundError("blueprint", blueprint, known=urls)
    if urls[blueprint] is None:
        raise InvalidRequestError(f"blueprint {blueprint!r} has no api_endpoint: its jobs cannot be created over HTTP")
    return str(urls[blueprint])


def connected(ctx: click.Context, connect: Callable[[str | None, str | None], K]) -> K:
    """Return a client for the ``--url`` and ``--token`` of this command, closed when the command ends."""
    client = connect(ctx.meta.get(_key("url")), ctx.meta.get(_key("token")))
    ctx.call_on_close(client.close)
    return client


def _passing(command: C, connect: Callable[[str | None, str | None], Any]) -> C:
    @click.pass_context
    def invoke(ctx: click.Context, *args: Any, **options: Any) -> Any:
        return ctx.invoke(command, connected(ctx, connect), *args, **options)

    return _options(update_wrapper(invoke, command), {"help": "URL of the API."}, {"help": "Client token."})  # type: ignore[return-value]


def _options(command: C, url: dict[str, Any], token: dict[str, Any]) -> C:
    def remember(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            ctx.meta[_key(str(parameter.name))] = value

    shared: dict[str, Any] = {"expose_value": False, "callback": remember}
    return click.option("--url", **shared, **url)(click.option("--token", **shared, **token)(command))


def _key(name: str) -> str:
    return f"{__name__}.{name}"
