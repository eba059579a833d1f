"""``avtomatika dead ...``: messages that were given up, by what they were and why."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import click

from avtomatika.schemas.api_queues import DeadLetterSchema
from avtomatika.store import Queues

from .environment import join_local
from .output import json_option, print_fields, print_table

_COLUMNS = ("id", "kind", "job_id", "reason", "deliveries", "at")


@click.group("dead")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Look at dead letters, put them back, or drop them."""
    ctx.obj = ctx.with_resource(closing(Queues.connect(str(join_local().redis_url))))


@command.command("list")
@click.option("--queue", help="Only those of this queue.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, help="The newest so many.")
@json_option
@click.pass_obj
def list_letters(queues: Queues, queue: str | None, limit: int, as_json: bool) -> None:
    """Print dead letters, the newest first."""
    print_table(DeadLetterSchema(many=True).dump(queues.dead(limit=limit, queue=queue)), _COLUMNS, as_json=as_json)


@command.command()
@click.argument("letter_id")
@json_option
@click.pass_obj
def show(queues: Queues, letter_id: str, as_json: bool) -> None:
    """Print a dead letter with its body."""
    print_fields(DeadLetterSchema().dump(queues.dead_letter(letter_id)), as_json=as_json)


@command.command()
@click.argument("letter_ids", nargs=-1, required=True)
@click.pass_obj
def requeue(queues: Queues, letter_ids: Sequence[str]) -> None:
    """Put dead letters back into their queues, as if they had never been delivered.

    A job that was quarantined because of one waits for it no more: `avtomatika job retry` has that go on.
    """
    for letter_id in letter_ids:
        message = queues.requeue(letter_id)
        click.echo(f"{letter_id} is in {message.letter.queue} again")


@command.command()
@click.argument("letter_ids", nargs=-1, required=True)
@click.pass_obj
def drop(queues: Queues, letter_ids: Sequence[str]) -> None:
    """Forget dead letters."""
    for letter_id in letter_ids:
        queues.drop(letter_id)
        click.echo(f"{letter_id} is dropped")
