"""``avtomatika top``: rates, queues, workers and the slowest jobs, live."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from time import sleep
from typing import Any

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from avtomatika.client import Client
from avtomatika.core.job import JobStatus
from avtomatika.errors import UnavailableError

from .api import api_options, connected
from .terminal import visible
from .workers import row_of

#: Width without a terminal.
_PLAIN_WIDTH = 80
#: Width up to which a name in the first column is not truncated; ids of jobs are shorter.
_NAME_WIDTH = 30
#: Lines that are not rows of the three tables: figures, headings and blank lines.
_OTHER_LINES = 16
_MOST_PROBLEMS = 3
_COLOURS = {"fault": "bold red", "warning": "yellow"}
_UNFINISHED = [str(status) for status in JobStatus if not status.is_final]
#: Queues of the processes themselves, shown only with messages.
_INTERNAL_QUEUES = ("avt.", "control.", "@")
_UNITS = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_SERIES = ("created", "finished", "failed", "cancelled")


@click.command("top")
@click.option("--once", is_flag=True, help="Print once and exit, as without a terminal.")
@click.option("--interval", type=click.FloatRange(0.5), default=2.0, metavar="SECONDS", help="Time between updates.")
@api_options
@click.pass_context
def command(ctx: click.Context, once: bool, interval: float) -> None:
    """Show rates, queues, workers and the slowest jobs, live until Ctrl-C.

    Rates are those of the last whole minute; the slowest jobs are the oldest ones that have not ended.
    """
    api, console = connected(ctx), Console()
    if once or not console.is_terminal:
        plain = Console(width=None if console.is_terminal else _PLAIN_WIDTH)
        plain.print(_screen(api, rows=20))
        return
    with suppress(KeyboardInterrupt), Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            try:
                shown = _screen(api, rows=max(2, (console.height - _OTHER_LINES) // 3))
            except UnavailableError as error:
                shown = Text(visible(f"{error}; retrying"), style="red")
            live.update(shown, refresh=True)
            sleep(interval)


def _screen(api: Client, *, rows: int) -> RenderableType:
    """Return one frame, with at most *rows* rows in each table."""
    overview, queues, workers = api.overview(), api.queues(), api.workers()
    shown = [queue for queue in queues if _messages(queue) or not queue["name"].startswith(_INTERNAL_QUEUES)]
    busiest = sorted(shown, key=lambda queue: (-_messages(queue), queue["name"]))
    at = datetime.fromisoformat(overview["now"]["at"])
    return Group(
        *_figures(overview),
        _table(
            ("queue", "waiting", "held", "delayed", "dead", "oldest"), [_queue_row(each) for each in busiest[:rows]]
        ),
        _table(
            ("worker", "status", "load", "now", "skills"),
            [{**row_of(each), "worker": each["id"]} for each in workers[:rows]],
        ),
        _table(("slowest job", "status", "blueprint", "state", "age"), _slowest(api, at, rows)),
    )


def _figures(overview: Any) -> Iterator[Text]:
    now, series = overview["now"], overview["hour"]["series"]
    jobs = {status: number for status, number in now["jobs"].items() if not JobStatus(status).is_final}
    yield Text(f"{now['at']}   versions {', '.join(now['versions'])}", style="dim")
    rates = {f"{name}/min": series[name][-2] or 0 for name in _SERIES}
    tasks, waited = now["tasks"], _age(now["tasks"]["oldest_waiting_seconds"])
    figures_of_tasks = {"running": tasks["running"], f"waiting, the first for {waited}": tasks["waiting"]}
    for name, figures in {"jobs": jobs, "rates": rates, "tasks": figures_of_tasks, "workers": now["workers"]}.items():
        words = ", ".join(f"{number:,.0f} {word.replace('_', ' ')}" for word, number in figures.items() if number)
        yield Text(f"{name:8} {words or 'none'}", overflow="ellipsis", no_wrap=True)
    problems = overview["problems"]
    for each in problems[:_MOST_PROBLEMS]:
        text = visible(f"{each['state']:8} {each['subject']}: {each['finding']}")
        yield Text(text, style=_COLOURS.get(each["state"], ""), overflow="ellipsis", no_wrap=True)
    if len(problems) > _MOST_PROBLEMS:
        yield Text(f"and {len(problems) - _MOST_PROBLEMS} more: avtomatika status")


def _slowest(api: Client, at: datetime, rows: int) -> list[Mapping[str, Any]]:
    """Return the oldest jobs that have not ended."""
    found: list[Mapping[str, Any]] = []
    for job in islice(api.jobs(status=_UNFINISHED, oldest_first=True, page_size=rows), rows):
        age = _age((at - datetime.fromisoformat(job["created_at"])).total_seconds())
        found.append({**job, "slowest job": job["id"], "blueprint": job["blueprint_name"], "age": age})
    return found


def _messages(queue: Mapping[str, Any]) -> int:
    return sum(queue[name] for name in ("waiting", "held", "delayed", "dead"))


def _queue_row(queue: Mapping[str, Any]) -> Mapping[str, Any]:
    oldest = "paused" if queue["paused_at"] else _age(queue["waited_ms"] / 1000) if queue["waiting"] else ""
    return {**queue, "queue": queue["name"], "oldest": oldest}


def _age(seconds: float) -> str:
    """Return a duration in at most five characters."""
    size, unit = next(pair for pair in _UNITS if seconds >= 2 * pair[0] or pair[0] == 1)
    return f"{seconds // size:.0f} {unit}"


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Return a table below a blank line."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    name_width = max((len(str(row[columns[0]])) for row in rows), default=0)
    for number, column in enumerate(columns):
        is_number = bool(rows) and isinstance(rows[0].get(column), int)
        table.add_column(
            column,
            justify="right" if is_number else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=0 if number else min(name_width, _NAME_WIDTH),
        )
    for row in rows:
        table.add_row(*[Text(visible(str(row.get(column, "")))) for column in columns])
    return Padding(table, (1, 0, 0, 0))
