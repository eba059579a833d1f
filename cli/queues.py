"""``avtomatika queues ...``: the queues of the server, over HTTP or directly."""

from __future__ import annotations

import click

from .api import api_options, pass_operations
from .direct_client import Operations
from .output import json_option, print_json, print_table

_COLUMNS = ("name", "waiting", "held", "delayed", "dead", "consumers")
_MESSAGE_COLUMNS = ("id", "kind", "job_id", "priority", "deliveries", "at")


@click.group("queues")
@api_options
def command() -> None:
    """Look at queues, and empty them."""


@command.command("list")
@json_option
@pass_operations
def list_queues(api: Operations, as_json: bool) -> None:
    """Print the queues: what waits, what consumers hold, what is delayed, what was given up."""
    print_table(api.queues(), _COLUMNS, as_json=as_json)


@command.command()
@click.argument("name")
@click.option("--limit", type=click.IntRange(1, 200), default=20, help="The first so many.")
@json_option
@pass_operations
def peek(api: Operations, name: str, limit: int, as_json: bool) -> None:
    """Print the messages that wait in a queue, the next one first; they stay there."""
    print_table(api.messages(name, limit=limit), _MESSAGE_COLUMNS, as_json=as_json)


@command.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_operations
def purge(api: Operations, name: str, yes: bool, as_json: bool) -> None:
    """Remove the messages that wait in a queue, for good.

    Jobs whose messages these are do not hear of it: those with a time limit go on when it is over, all others wait
    until they are cancelled.
    """
    if not yes:
        click.confirm(f"Remove what waits in {name!r}? Jobs that wait for it will not hear of it", abort=True, err=True)
    removed = api.purge(name)
    print_json({"removed": removed}) if as_json else click.echo(removed)
