"""Connect commands to the API: over HTTP or, without a web process, on the server.

Nothing is resolved before a command runs, so that ``--help`` works anywhere.
"""

from collections.abc import Callable
from functools import update_wrapper
from typing import Any, TypeVar

import click

from avtomatika import environment
from avtomatika.client import Client
from avtomatika.errors import InvalidRequestError, NotFoundError, SettingsError, UnavailableError
from avtomatika.local_installation import announced
from avtomatika.settings import Settings

from .embedded import is_running
from .environment import join_local
from .var_folder import secret

C = TypeVar("C", bound=Callable[..., Any])

_NOTHING_FOUND = (
    "no API and no server found. Set AVTOMATIKA_URL and CLIENT_TOKEN (or --url and --token) to use the "
    "HTTP API, REDIS_URL to use the server directly, or start one here with:  avtomatika up"
)


def api_options(command: C) -> C:
    """Add ``--url`` and ``--token`` to a group."""
    return _options(
        command,
        {"envvar": "AVTOMATIKA_URL", "help": "URL of the API, or of the server.  [default: the local one]"},
        {"envvar": "CLIENT_TOKEN", "help": "Client token.  [default: that of the running `avtomatika up`]"},
    )


def pass_api(command: C) -> C:
    """Pass a Client to *command*, which takes ``--url`` and ``--token`` like its group."""

    @click.pass_context
    def invoke(ctx: click.Context, *args: Any, **options: Any) -> Any:
        return ctx.invoke(command, connected(ctx), *args, **options)

    return _options(update_wrapper(invoke, command), {"help": "URL of the API."}, {"help": "Client token."})  # type: ignore[return-value]


def api_client(url: str | None = None, token: str | None = None) -> Client:
    """A client for *url*, else for the ``up`` that runs in this folder (with its token), else for the servers of
    ``ORCHESTRATORS_CONFIG``, else on the server of ``REDIS_URL`` or of this folder, else for the local port."""
    here = announced() if url is None else None
    if here is not None:
        return Client(str(here["url"]), token or secret("client_token"))
    if url is None and environment.text("ORCHESTRATORS_CONFIG") is not None:
        return Client.from_environment(token)
    if uses_server(url):
        return Client(str(join_local().redis_url), token)
    if url is None and not token:
        raise UnavailableError(_NOTHING_FOUND)
    if not token and str(url).startswith("http"):
        raise SettingsError("CLIENT_TOKEN is not set, and --token was not given")
    return Client(url or f"http://localhost:{Settings.from_environment().port}", token)


def uses_server(url: str | None) -> bool:
    """Return whether commands without *url* and a web process use the server of ``REDIS_URL`` or of this folder."""
    return url is None and (Settings.from_environment().redis_url is not None or is_running())


def creation_url(api: Client, blueprint: str) -> str:
    """Return the URL that jobs of *blueprint* are posted to; NotFoundError suggests similar names."""
    urls = {each["name"]: each.get("url") for each in api.blueprints()}
    if blueprint not in urls:
        raise NotFoundError("blueprint", blueprint, known=urls)
    if urls[blueprint] is None:
        raise InvalidRequestError(f"blueprint {blueprint!r} has no api_endpoint: its jobs cannot be created over HTTP")
    return str(urls[blueprint])


def connected(ctx: click.Context) -> Client:
    """Return a client for the ``--url`` and ``--token`` of this command, closed when the command ends."""
    client = api_client(given_url(ctx), ctx.meta.get(_key("token")))
    ctx.call_on_close(client.close)
    return client


def given_url(ctx: click.Context) -> str | None:
    """Return the ``--url`` of this command."""
    url: str | None = ctx.meta.get(_key("url"))
    return url


def _options(command: C, url: dict[str, Any], token: dict[str, Any]) -> C:
    def remember(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            ctx.meta[_key(str(parameter.name))] = value

    shared: dict[str, Any] = {"expose_value": False, "callback": remember}
    return click.option("--url", **shared, **url)(click.option("--token", **shared, **token)(command))


def _key(name: str) -> str:
    return f"{__name__}.{name}"
