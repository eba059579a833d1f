"""Print what the skills of a job write and log."""

import json
import logging

import click

from avtomatika.client import Client
from avtomatika.client.answers import StreamEntry

from .api import pass_api
from .output import json_option, print_json
from .terminal import visible

_LEVELS = logging.getLevelNamesMapping()
#: Kinds that `jobs logs` prints.
_LOGGED = ("text", "log", "restart", "dropped")
_STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red", "restart": "magenta", "dropped": "magenta"}


@click.command()
@click.argument("job_id")
@click.option("--follow", is_flag=True, help="Print further entries until the job ends.")
@click.option(
    "--level",
    type=click.Choice(["debug", "info", "warning", "error", "critical"], case_sensitive=False),
    help="Only log lines of this level and above.",
)
@click.option("--task", metavar="ID", help="Only this task: its id, or the end of it, as in 1.0.")
@json_option
@pass_api
def logs(api: Client, /, job_id: str, follow: bool, level: str | None, task: str | None, as_json: bool) -> None:
    """Print the log lines and the text that the skills of a job write.

    Times are in UTC. A task that runs again is marked: the lines of its new run follow.
    """
    for entry in api.stream(job_id, follow=follow, kinds=_LOGGED):
        if _is_wanted(entry, level, task):
            line = f"{entry['at'] or '':24}  {described(entry, width=8)}"
            print_json(entry) if as_json else click.echo(line)


def described(entry: StreamEntry, *, width: int) -> str:
    """Return an entry without its time: what it is, in *width* columns, its task and its text."""
    label = entry["level"] or entry["kind"]
    match entry["kind"]:
        case "restart":
            text = f"attempt {entry['attempt']}"
        case "dropped":
            text = f"{entry['data']} entries are missing"
        case "bytes":
            text = f"{len(str(entry['data']).rstrip('=')) * 3 // 4} bytes"  # of base64
        case "json":
            text = json.dumps(entry["data"], ensure_ascii=False)
        case _:
            text = str(entry["data"]).rstrip("\n").replace("\n", "\n    ")
    task = (entry["task_id"] or "").partition(".")[2]
    shown = f"{visible(label):{width}}"
    return f"{click.style(shown, _STYLES[label]) if label in _STYLES else shown} {visible(f'{task}  {text}')}"


def _is_wanted(entry: StreamEntry, level: str | None, task: str | None) -> bool:
    """Return True for entries of *task*, with *level* only for marks and for log lines of that level and above; levels
    with a name of their own are shown."""
    if task is not None and entry["task_id"] and not f".{entry['task_id']}".endswith(f".{task}"):
        return False
    if level is None or entry["kind"] in ("restart", "dropped"):
        return True
    return entry["kind"] == "log" and _LEVELS.get(entry["level"] or "", logging.CRITICAL) >= _LEVELS[level.upper()]
