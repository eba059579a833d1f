"""``avtomatika dead-letters``: list, inspect, requeue and delete dead-lettered messages."""

from collections.abc import Sequence

import click

from avtomatika.client import Client

from .api import api_command, api_options, pass_api
from .output import filter_option, print_fields, print_table

_COLUMNS = ("id", "kind", "job_id", "reason", "deliveries", "at")


@click.group("dead-letters")
@api_options
def command() -> None:
    """List, inspect, requeue and delete dead letters."""


@api_command(command, "list")
@filter_option("--queue", metavar="NAME", help="Only dead letters of this queue.")
@filter_option("--limit", type=click.IntRange(1, 200), default=50, help="Maximum number of dead letters to print.")
def list_letters(api: Client, queue: str | None, limit: int, as_json: bool) -> None:
    """List dead letters, newest first."""
    print_table(api.dead_letters(queue=queue, limit=limit), _COLUMNS, as_json=as_json)


@api_command(command)
@click.argument("letter_id")
def show(api: Client, letter_id: str, as_json: bool) -> None:
    """Print a dead letter with its body."""
    print_fields(api.dead_letter(letter_id), as_json=as_json)


@command.command()
@click.argument("letter_ids", nargs=-1, required=True)
@pass_api
def requeue(api: Client, letter_ids: Sequence[str]) -> None:
    """Move dead letters back to their queues.

    Their delivery count restarts at 0. Jobs quarantined because of one stay so until
    `avtomatika jobs retry`.
    """
    for letter_id in letter_ids:
        letter = api.requeue_dead_letter(letter_id)
        click.echo(f"{letter_id} requeued to {letter['queue']}")


@command.command()
@click.argument("letter_ids", nargs=-1, required=True)
@pass_api
def drop(api: Client, letter_ids: Sequence[str]) -> None:
    """Delete dead letters."""
    for letter_id in letter_ids:
        api.drop_dead_letter(letter_id)
        click.echo(f"{letter_id} deleted")
