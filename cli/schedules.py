"""``avtomatika schedules``: list, add, remove, run, pause and backfill schedules."""

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import click

from avtomatika.client import Client
from avtomatika.client.answers import ScheduleInfo

from .api import api_options, pass_api
from .arguments import initial_data
from .output import json_option, print_json, print_table

_COLUMNS = ("name", "status", "timing", "next", "last", "last_status", "skipped", "source", "error")
_TIME = click.DateTime(["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z", "%Y-%m-%d"])


@click.group("schedules")
@api_options
def command() -> None:
    """List, add, remove, run, pause and backfill schedules."""


@command.command("list")
@json_option
@pass_api
def list_schedules(api: Client, as_json: bool) -> None:
    """List schedules: when they run next, in their time zone, and how the last job ended."""
    _print(api.schedules(), as_json)


@command.command("next")
@click.argument("name")
@click.option("--count", type=click.IntRange(1, 1000), default=10, help="Number of ticks to print.")
@json_option
@pass_api
def next_ticks(api: Client, name: str, count: int, as_json: bool) -> None:
    """Print the next ticks of a schedule, in its time zone."""
    found = api.schedule(name, ticks=count)
    print_json(found["next"]) if as_json else click.echo("\n".join(_local(found, tick) for tick in found["next"]))


@command.command()
@click.argument("name")
@click.argument("fields", nargs=-1, required=True, metavar="FIELD=TEXT | FIELD:=JSON...")
@pass_api
def add(api: Client, name: str, fields: Sequence[str]) -> None:
    """Add the schedule NAME, or replace its definition.

    The fields are those of schedules.toml.

    \b
        avtomatika schedules add nightly blueprint=report cron='0 7 * * 1-5' timezone=Europe/Berlin
        avtomatika schedules add poll skill=fetch interval=15m initial_data:='{"url": "https://example.com"}'
    """
    _print([api.put_schedule(name, initial_data(fields))])


@command.command()
@click.argument("name")
@pass_api
def remove(api: Client, name: str) -> None:
    """Remove a schedule; its jobs stay."""
    api.remove_schedule(name)


@command.command()
@click.argument("name")
@pass_api
def run(api: Client, name: str) -> None:
    """Run a schedule now and print the id of the job."""
    click.echo(api.run_schedule(name)["job_id"])


@command.command()
@click.argument("name")
@pass_api
def pause(api: Client, name: str) -> None:
    """Leave out the ticks of a schedule until it is resumed."""
    _print([api.pause_schedule(name)])


@command.command()
@click.argument("name")
@pass_api
def resume(api: Client, name: str) -> None:
    """Resume a paused schedule from its next tick."""
    _print([api.resume_schedule(name)])


@command.command()
@click.argument("name")
@click.option("--from", "start", type=_TIME, required=True, help="First tick, in the time zone of the schedule.")
@click.option("--to", "end", type=_TIME, required=True, help="Last tick, likewise.")
@click.option("--dry-run", is_flag=True, help="Print the ticks only.")
@json_option
@pass_api
def backfill(api: Client, /, name: str, start: datetime, end: datetime, dry_run: bool, as_json: bool) -> None:
    """Run the ticks of a range in the past that have not run, all at once."""
    zone = ZoneInfo(api.schedule(name)["timezone"])
    start, end = (each if each.tzinfo else each.replace(tzinfo=zone) for each in (start, end))
    runs = api.backfill(name, start, end, dry_run=dry_run)
    print_table(runs, ("scheduled_at", "job_id", "existing"), as_json=as_json)


def _print(schedules: Sequence[ScheduleInfo], as_json: bool = False) -> None:
    times = [{"next": _local(each, *each["next"][:1]), "last": _local(each, each["last_at"])} for each in schedules]
    rows = [{**each, **shown} for each, shown in zip(schedules, times, strict=True)]
    print_table(schedules if as_json else rows, _COLUMNS, as_json=as_json)


def _local(schedule: ScheduleInfo, time: str | None = None) -> str:
    zone = ZoneInfo(schedule["timezone"])
    return "" if time is None else datetime.fromisoformat(time).astimezone(zone).isoformat(timespec="seconds")
