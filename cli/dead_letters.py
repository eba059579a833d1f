"""``avtomatika dead-letters ...``: messages that were given up, by what they were and why."""

from __future__ import annotations

from collections.abc import Sequence

import click

from .api import api_options, pass_operations
from .direct_client import Operations
from .output import filter_option, json_option, print_fields, print_table

_COLUMNS = ("id", "kind", "job_id", "reason", "deliveries", "at")


@click.group("dead-letters")
@api_options
def command() -> None:
    """Look at dead letters, put them back, or drop them."""


@command.command("list")
@filter_option("--queue", help="Only those of this queue.")
@filter_option("--limit", type=click.IntRange(1, 200), default=50, help="The newest so many.")
@json_option
@pass_operations
def list_letters(api: Operations, queue: str | None, limit: int, as_json: bool) -> None:
    """Print dead letters, the newest first."""
    print_table(api.dead_letters(queue=queue, limit=limit), _COLUMNS, as_json=as_json)


@command.command()
@click.argument("letter_id")
@json_option
@pass_operations
def show(api: Operations, letter_id: str, as_json: bool) -> None:
    """Print a dead letter with its body."""
    print_fields(api.dead_letter(letter_id), as_json=as_json)


@command.command()
@click.argument("letter_ids", nargs=-1, required=True)
@pass_operations
def requeue(api: Operations, letter_ids: Sequence[str]) -> None:
    """Put dead letters back into their queues, as if they had never been delivered.

    A job that was quarantined because of one waits for it no more: `avtomatika jobs retry` has that go on.
    """
    for letter_id in letter_ids:
        letter = api.requeue_dead_letter(letter_id)
        click.echo(f"{letter_id} is in {letter['queue']} again")


@command.command()
@click.argument("letter_ids", nargs=-1, required=True)
@pass_operations
def drop(api: Operations, letter_ids: Sequence[str]) -> None:
    """Forget dead letters."""
    for letter_id in letter_ids:
        api.drop_dead_letter(letter_id)
        click.echo(f"{letter_id} is dropped")
