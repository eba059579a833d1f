"""Print the output of commands: tables for people or JSON for programs, on standard output."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .terminal import visible

C = TypeVar("C", bound=Callable[..., Any])

#: Width when standard output is not a terminal: no line is cut.
_WIDE = 10_000
#: Longer cells are truncated; JSON has the whole value.
_LONGEST_CELL = 100
_STATUS_STYLES = {"finished": "green", "failed": "red", "error": "red", "quarantined": "yellow", "cancelled": "dim"}
_STATUS_STYLES |= {"running": "cyan", "waiting_for_worker": "cyan", "waiting_for_human": "magenta"}


def json_option(command: C) -> C:
    """Add ``--json`` to *command*."""
    return click.option(
        "--json", "as_json", is_flag=True, envvar="AVTOMATIKA_JSON", help="Print JSON instead of a table."
    )(command)


def filter_option(*names: str, default: object = None, **attributes: Any) -> Callable[[C], C]:
    """Add an option that may be given once: click would silently use the last value."""

    def only(ctx: click.Context, parameter: click.Parameter, values: Sequence[object]) -> object:
        if len(values) > 1:
            raise click.BadParameter(f"given {len(values)} times, but only one value is allowed")
        return values[0] if values else None

    given = None if default is None else [default]
    return click.option(*names, multiple=True, default=given, callback=only, **attributes)


def print_json(value: object) -> None:
    """Print one JSON value, indented on a terminal."""
    click.echo(visible(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None)))


def print_table(rows: Sequence[Mapping[str, object]], columns: Sequence[str], *, as_json: bool = False) -> None:
    """Print mappings as rows; missing values are blank and long ones truncated."""
    if as_json:
        print_json(rows)
        return
    headings = (column.replace("_", " ") for column in columns)
    table = Table(*headings, box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for row in rows:
        cells = [_cell(row.get(column)) for column in columns]
        for cell in cells:
            cell.truncate(_LONGEST_CELL, overflow="ellipsis")
        table.add_row(*cells)
    _print(table)


def print_fields(fields: Mapping[str, object], *, as_json: bool = False) -> None:
    """Print one field a line, without empty fields."""
    if as_json:
        print_json(fields)
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in fields.items():
        if value not in (None, "", {}, []):
            table.add_row(Text(name.replace("_", " "), style="dim"), _cell(value))
    _print(table)


def _print(table: Table) -> None:
    if sys.stdout.isatty():
        Console().print(table)
        return
    console = Console(width=_WIDE)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def _cell(value: object) -> Text:
    if value is None:
        return Text("")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return Text(visible(text), style=_STATUS_STYLES.get(text, ""))
