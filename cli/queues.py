"""``avtomatika queues``: list, inspect, pause and purge queues."""

import click

from avtomatika.client import Client

from .api import api_command, api_options
from .output import print_fields, print_json, print_table

_COLUMNS = ("name", "waiting", "held", "delayed", "dead", "consumers", "waited_ms", "paused_at")
_MESSAGE_COLUMNS = ("id", "kind", "job_id", "priority", "deliveries", "at")


@click.group("queues")
@api_options
def command() -> None:
    """List, inspect, pause and purge queues."""


@api_command(command, "list")
def list_queues(api: Client, as_json: bool) -> None:
    """List queues with their message counts.

    Counted are waiting, leased (held), delayed and dead-lettered messages.
    """
    print_table(api.queues(), _COLUMNS, as_json=as_json)


@api_command(command)
@click.argument("name")
@click.option("--limit", type=click.IntRange(1, 200), default=20, help="Maximum number of messages to print.")
def peek(api: Client, name: str, limit: int, as_json: bool) -> None:
    """Print waiting messages of a queue, the next one first.

    The messages stay in the queue.
    """
    print_table(api.messages(name, limit=limit), _MESSAGE_COLUMNS, as_json=as_json)


@api_command(command)
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def purge(api: Client, name: str, yes: bool, as_json: bool) -> None:
    """Delete all waiting messages of queue NAME.

    Their jobs are not notified: a job whose state has a time limit continues when it expires, any other waits until it
    is cancelled.
    """
    if not yes:
        click.confirm(f"Delete all waiting messages of {name!r}? Their jobs are not notified", abort=True, err=True)
    removed = api.purge(name)
    print_json({"removed": removed}) if as_json else click.echo(removed)


@api_command(command)
@click.argument("name")
def pause(api: Client, name: str, as_json: bool) -> None:
    """Let no consumer take from queue NAME until it is resumed.

    Its messages wait in order. Messages that consumers have leased are finished.
    """
    print_fields(api.pause_queue(name), as_json=as_json)


@api_command(command)
@click.argument("name")
def resume(api: Client, name: str, as_json: bool) -> None:
    """Let consumers take from queue NAME again."""
    print_fields(api.resume_queue(name), as_json=as_json)
