"""``avtomatika schedules``: list, add, remove, run, pause and backfill schedules."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import click

from avtomatika.client import Client
from avtomatika.core.schedule import Overlap

from .api import api_options, pass_api
from .arguments import distinct_labels, uploaded_data
from .output import json_option, print_fields, print_json, print_table

C = TypeVar("C", bound=Callable[..., Any])

_COLUMNS = ("name", "status", "timing", "next", "last", "last_status", "skipped", "source", "error")
_RUN_COLUMNS = ("scheduled_at", "job_id", "existing")
_TIME = click.DateTime(["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z", "%Y-%m-%d"])
_FIELD_OPTIONS = (
    click.option("--skill", help="Skill of the task, instead of a blueprint."),
    click.option("--cron", metavar="EXPRESSION", help="Minute, hour, day, month, day of week: '0 7 * * 1-5'."),
    click.option("--interval", metavar="TIME", help="Every 30s, 15m, 2h, 1d or 1w."),
    click.option("--daily-at", metavar="HH:MM", help="Every day at this time."),
    click.option("--weekly-day", "weekly_days", multiple=True, help="Only on this day, mon to sun. Repeatable."),
    click.option(
        "--monthly-date", "monthly_dates", multiple=True, help="Only on this date, 1 to 31, or last. Repeatable."
    ),
    click.option("--timezone", help="Time zone, as in Europe/Berlin.  [default: UTC]"),
    click.option("--priority", type=click.IntRange(0, 9), help="Priority of the jobs.  [default: 0]"),
    click.option("--catch-up", is_flag=True, default=None, help="Run all ticks that were missed in a downtime."),
    click.option(
        "--overlap",
        type=click.Choice([each.value for each in Overlap]),
        help="While the previous job runs.  [default: skip]",
    ),
)


def _field_options(command: C) -> C:
    for option in reversed(_FIELD_OPTIONS):
        command = option(command)
    return command


@click.group("schedules")
@api_options
def command() -> None:
    """List, add, remove, run, pause and backfill schedules."""


@command.command("list")
@json_option
@pass_api
def list_schedules(api: Client, as_json: bool) -> None:
    """List schedules: when they run next, and how the last job ended.

    Times are in the time zone of the schedule.
    """
    found = api.schedules()
    print_table(found if as_json else [_row(each) for each in found], _COLUMNS, as_json=as_json)


@command.command("next")
@click.argument("name")
@click.option("--count", type=click.IntRange(1, 1000), default=10, help="Number of ticks to print.")
@json_option
@pass_api
def next_ticks(api: Client, name: str, count: int, as_json: bool) -> None:
    """Print the next ticks of a schedule, in its time zone."""
    found = api.schedule(name, ticks=count)
    if as_json:
        print_json(found["next"])
        return
    for tick in found["next"]:
        click.echo(_local(tick, found["timezone"]))


@command.command()
@click.argument("name")
@click.argument("blueprint", required=False)
@click.argument("data", nargs=-1, metavar="[KEY=TEXT | KEY:=JSON | KEY=@FILE]...")
@_field_options
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Label of the jobs. Repeatable.")
@json_option
@pass_api
def add(
    api: Client,
    /,
    name: str,
    blueprint: str | None,
    data: Sequence[str],
    labels: Sequence[str],
    as_json: bool,
    **options: Any,
) -> None:
    """Add the schedule NAME for jobs of BLUEPRINT, or replace its definition.

    \b
        avtomatika schedules add nightly report --cron '0 7 * * 1-5' --timezone Europe/Berlin
        avtomatika schedules add poll --skill fetch --interval 15m url=https://example.com
    """
    if options["skill"] is not None:  # there is no blueprint: it is the first of the data
        blueprint, data = None, [*([] if blueprint is None else [blueprint]), *data]
    options["monthly_dates"] = [json.loads(date) if date.isdecimal() else date for date in options["monthly_dates"]]
    options |= {"blueprint": blueprint, "initial_data": uploaded_data(api, data), "labels": distinct_labels(labels)}
    given = {field: value for field, value in options.items() if value not in (None, (), [], {})}
    _print(api.put_schedule(name, given), as_json)


@command.command()
@click.argument("name")
@pass_api
def remove(api: Client, name: str) -> None:
    """Remove a schedule; its jobs stay."""
    api.remove_schedule(name)


@command.command()
@click.argument("name")
@json_option
@pass_api
def run(api: Client, name: str, as_json: bool) -> None:
    """Run a schedule now and print the id of the job."""
    made = api.run_schedule(name)
    print_json(made) if as_json else click.echo(made["job_id"])


@command.command()
@click.argument("name")
@json_option
@pass_api
def pause(api: Client, name: str, as_json: bool) -> None:
    """Leave out the ticks of a schedule until it is resumed."""
    _print(api.pause_schedule(name), as_json)


@command.command()
@click.argument("name")
@json_option
@pass_api
def resume(api: Client, name: str, as_json: bool) -> None:
    """Resume a paused schedule from its next tick."""
    _print(api.resume_schedule(name), as_json)


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
    print_table(api.backfill(name, start, end, dry_run=dry_run), _RUN_COLUMNS, as_json=as_json)


def _print(schedule: Mapping[str, Any], as_json: bool) -> None:
    print_fields(schedule if as_json else _row(schedule), as_json=as_json)


def _row(schedule: Mapping[str, Any]) -> dict[str, object]:
    times = {"next": (schedule["next"] or [None])[0], "last": schedule["last_at"]}
    shown = {name: None if time is None else _local(time, schedule["timezone"]) for name, time in times.items()}
    return {**{name: schedule.get(name) for name in _COLUMNS}, **shown}


def _local(time: str, zone: str) -> str:
    return datetime.fromisoformat(time).astimezone(ZoneInfo(zone)).isoformat(timespec="seconds")
