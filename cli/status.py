"""``avtomatika status``: what happens now and what is wrong, over HTTP or directly on the server."""

from collections.abc import Mapping

import click

from .api import api_options, connected
from .output import json_option, print_json


@click.command("status")
@json_option
@api_options
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Show what happens now, what happened in the last hour, and what is wrong."""
    found = connected(ctx).overview()
    if as_json:
        print_json(found)
        return
    for problem in found["problems"]:
        click.echo(f"{problem['state']:<8} {problem['subject']}: {problem['finding']}")
    now, series = found["now"], found["hour"]["series"]
    tables: dict[str, Mapping[str, float]] = {
        name: now[name] for name in ("jobs", "waiting", "tasks", "workers", "dead_letters")
    }
    tables["last hour"] = {
        name: sum(filter(None, series[name])) for name in ("created", "finished", "failed", "cancelled")
    }
    for name, table in tables.items():
        words = ", ".join(f"{number:.0f} {each.replace('_', ' ')}" for each, number in table.items() if number)
        click.echo(f"{name.replace('_', ' '):<13} {words or 'none'}")
