"""``avtomatika dead-letters``: list, inspect, requeue and delete dead-lettered messages."""

import click

from avtomatika.client import Client

from .api import api_command, api_options, each_command
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


@each_command(command, "LETTER_ID")
def requeue(api: Client, letter_id: str) -> str:
    """Move dead letters back to their queues.

    Their delivery count restarts at 0. Jobs quarantined because of one stay so until
    `avtomatika jobs retry`.
    """
    return f"requeued to {api.requeue_dead_letter(letter_id)['queue']}"


@each_command(command, "LETTER_ID")
def drop(api: Client, letter_id: str) -> str:
    """Delete dead letters."""
    api.drop_dead_letter(letter_id)
    return "deleted"
