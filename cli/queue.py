"""``avtomatika queue ...``: the queues, as the server has them."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict

import click

from avtomatika.schemas.api_queues import MessageSchema
from avtomatika.store import Queues

from .environment import join_local
from .output import json_option, print_json, print_table

_COLUMNS = ("name", "waiting", "held", "delayed", "dead", "consumers")
_MESSAGE_COLUMNS = ("id", "kind", "job_id", "priority", "deliveries", "at")


@click.group("queue")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Look at queues, and empty them."""
    ctx.obj = ctx.with_resource(closing(Queues.connect(str(join_local().redis_url))))


@command.command("list")
@json_option
@click.pass_obj
def list_queues(queues: Queues, as_json: bool) -> None:
    """Print the queues: what waits, what consumers hold, what is delayed, what was given up."""
    print_table([asdict(queue) for queue in queues.all()], _COLUMNS, as_json=as_json)


@command.command()
@click.argument("name")
@click.option("--limit", type=click.IntRange(1, 200), default=20, help="The first so many.")
@json_option
@click.pass_obj
def peek(queues: Queues, name: str, limit: int, as_json: bool) -> None:
    """Print the messages that wait in a queue, the next one first; they stay there."""
    found = MessageSchema(many=True).dump(queues.peek(name, limit=limit))
    print_table(found, _MESSAGE_COLUMNS, as_json=as_json)


@command.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def purge(queues: Queues, name: str, yes: bool, as_json: bool) -> None:
    """Remove the messages that wait in a queue, for good.

    Jobs whose messages these are do not hear of it: those with a time limit go on when it is over, all others wait
    until they are cancelled.
    """
    if not yes:
        click.confirm(f"Remove what waits in {name!r}? Jobs that wait for it will not hear of it", abort=True, err=True)
    removed = queues.purge(name)
    print_json({"removed": removed}) if as_json else click.echo(removed)
