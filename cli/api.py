"""Connect commands to the API: over HTTP or, without a web process, on the server.

Nothing is resolved before a command runs, so that ``--help`` works anywhere.
"""

from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import Any, TypeVar

import click

from avtomatika import environment
from avtomatika.client import Address, Client
from avtomatika.errors import InvalidRequestError, NotFoundError, SettingsError
from avtomatika.local_installation import announced

from .embedded import is_running
from .environment import join_local
from .output import json_option
from .var_folder import secret

C = TypeVar("C", bound=Callable[..., Any])


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


def api_command(group: click.Group, name: str | None = None) -> Callable[[C], click.Command]:
    """Add a command with ``--json`` to *group*, which takes a Client as :func:`pass_api` does."""

    def decorate(command: C) -> click.Command:
        added = group.command(name)(json_option(pass_api(command)))
        added.params = [*added.params[3:], *added.params[:3]]  # the common options after its own
        return added

    return decorate


def each_command(group: click.Group, argument: str) -> Callable[[Callable[[Client, str], str]], click.Command]:
    """Add a command to *group* that is called for each of its arguments, and prints what it returns about it."""

    def decorate(command: Callable[[Client, str], str]) -> click.Command:
        def run(api: Client, names: Sequence[str]) -> None:
            for name in names:
                click.echo(f"{name} {command(api, name)}")

        each = pass_api(update_wrapper(run, command))
        return group.command()(click.argument("names", metavar=f"{argument}...", nargs=-1, required=True)(each))

    return decorate


def creation_url(api: Client, blueprint: str) -> str:
    """Return the URL that jobs of *blueprint* are posted to; NotFoundError suggests similar names."""
    urls = {each["name"]: each.get("url") for each in api.blueprints()}
    if blueprint not in urls:
        raise NotFoundError("blueprint", blueprint, known=urls)
    if urls[blueprint] is None:
        raise InvalidRequestError(f"blueprint {blueprint!r} has no api_endpoint: its jobs cannot be created over HTTP")
    return str(urls[blueprint])


def connected(ctx: click.Context, kind: type[Any] = Client) -> Any:
    """Return a *kind* of client for the ``--url`` of this command, else for the ``up`` that runs in this folder, else
    for the servers of the environment or the one of this folder. A Client is closed when the command ends."""
    url, token = ctx.meta.get(_key("url")), ctx.meta.get(_key("token"))
    if url is not None and not token and Address(url).is_web:
        raise SettingsError("CLIENT_TOKEN is not set, and --token was not given")
    if url is None and (here := announced()) is not None:
        url, token = str(here["url"]), token or secret("client_token")
    if uses_server(ctx):
        join_local()
    client = kind.from_environment(token) if url is None else kind(url, token)
    if kind is Client:
        ctx.call_on_close(client.close)
    return client


def uses_server(ctx: click.Context) -> bool:
    """Return whether there is no ``--url``, but the server of ``REDIS_URL`` or of this folder."""
    return _key("url") not in ctx.meta and (environment.text("REDIS_URL") is not None or is_running())


def _options(command: C, url: dict[str, Any], token: dict[str, Any]) -> C:
    def remember(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            ctx.meta[_key(str(parameter.name))] = value

    shared: dict[str, Any] = {"expose_value": False, "callback": remember}
    return click.option("--url", **shared, **url)(click.option("--token", **shared, **token)(command))


def _key(name: str) -> str:
    return f"{__name__}.{name}"
