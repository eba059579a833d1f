"""``avtomatika limits``: list, set, remove, pause and resume limits of tasks."""

from collections.abc import Callable
from typing import Any

import click

from avtomatika.client import Client
from avtomatika.core.limits import KINDS

from .api import api_command, api_options
from .output import print_fields, print_table

_COLUMNS = ("kind", "name", "running", "concurrency", "rate", "waiting", "paused_by", "source")


@click.group("limits")
@api_options
def command() -> None:
    """List, set, remove, pause and resume limits of tasks."""


def _limit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the arguments that name a limit."""
    return click.argument("kind", type=click.Choice(KINDS))(click.argument("name")(function))


@api_command(command, "list")
def list_limits(api: Client, as_json: bool) -> None:
    """List limits that are defined, paused or in use: how many tasks run and wait."""
    print_table(api.limits(), _COLUMNS, as_json=as_json)


@api_command(command, "set")
@_limit
@click.option("--concurrency", type=click.IntRange(1), help="Maximum number of tasks that run at a time.")
@click.option("--rate", metavar="N/UNIT", help="Maximum number of tasks that start in a time: 5/s, 100/m, 900/h, 10/d.")
def set_limit(api: Client, kind: str, name: str, concurrency: int | None, rate: str | None, as_json: bool) -> None:
    """Define a limit or replace its values, over all workers.

    \b
        avtomatika limits set skill encode --concurrency 10
        avtomatika limits set key acct-7 --rate 100/m
    """
    print_fields(api.set_limit(kind, name, concurrency=concurrency, rate=rate), as_json=as_json)


@api_command(command)
@_limit
def remove(api: Client, kind: str, name: str, as_json: bool) -> None:
    """Remove the values of a limit; a pause stays."""
    api.remove_limit(kind, name)


@api_command(command)
@_limit
def pause(api: Client, kind: str, name: str, as_json: bool) -> None:
    """Start no tasks of a skill, blueprint, client or key until it is resumed."""
    print_fields(api.pause_limit(kind, name), as_json=as_json)


@api_command(command)
@_limit
def resume(api: Client, kind: str, name: str, as_json: bool) -> None:
    """Let tasks of a skill, blueprint, client or key start again."""
    print_fields(api.resume_limit(kind, name), as_json=as_json)
