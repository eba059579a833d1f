"""``avtomatika jobs ...``: jobs over HTTP, through the Python client."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import click

from avtomatika.client import Client
from avtomatika.client.answers import Job
from avtomatika.core.job import JobStatus
from avtomatika.errors import ConflictError, InvalidRequestError

from .api import api_options, creation_url, pass_api
from .history import describe, events_until_the_end, print_history
from .output import filter_option, json_option, print_fields, print_json, print_table

T = TypeVar("T")

#: What the API gives at a time.
_LONGEST_PAGE = 200
_LIST_COLUMNS = ("id", "status", "blueprint_name", "current_state", "updated_at")


@click.group("jobs")
@api_options
def command() -> None:
    """Submit jobs and look at them."""


@command.command()
@click.argument("blueprint")
@click.argument("data", nargs=-1, metavar="[KEY=TEXT | KEY:=JSON | KEY=@FILE]...")
@click.option("--priority", type=click.IntRange(0, 9), help="Higher goes first.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="May be given more than once.")
@click.option("--idempotency-key", help="Asking again with the same key creates nothing new.")
@click.option("--wait", is_flag=True, help="Show it moving until it ends; exit 1 if it did not finish well.")
@json_option
@pass_api
def submit(
    api: Client,
    /,
    blueprint: str,
    data: Sequence[str],
    labels: Sequence[str],
    wait: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Create a job of BLUEPRINT and print its id.

    The initial data are KEY=TEXT for text, KEY:=JSON for everything else, and KEY=@FILE for a file, which is sent to S3
    first; the job gets its URI:

        avtomatika jobs submit photo path=/tmp/lake.jpg sizes:='[320, 640]'
        avtomatika jobs submit video video=@movie.mp4
    """
    given = {name: value for name, value in options.items() if value is not None}
    url, pairs = creation_url(api, blueprint), initial_data(data)
    sent = {key: api.upload(value.path) if isinstance(value, FileToSend) else value for key, value in pairs.items()}
    job_id = api.submit(url, sent, labels=_distinct(map(_pair, labels)), **given)["job_id"]
    if wait:
        _end_with(_follow(api, job_id, as_json=as_json))
    elif as_json:
        print_json({"job_id": job_id})
    else:
        click.echo(job_id)


@command.command("list")
@filter_option("--status", type=click.Choice([str(status) for status in JobStatus]), help="Only these.")
@filter_option("--blueprint", help="Only those of this blueprint.")
@click.option(
    "--label", multiple=True, metavar="NAME=VALUE", help="Only those with this label. Repeat it for several labels."
)
@filter_option("--limit", type=click.IntRange(1), default=50, help="The newest so many.")
@json_option
@pass_api
def list_jobs(api: Client, /, limit: int, as_json: bool, **wanted: Any) -> None:
    """Print jobs, newest first."""
    jobs = list(islice(api.jobs(**wanted, page_size=min(limit, _LONGEST_PAGE)), limit))
    print_table(jobs, _LIST_COLUMNS, as_json=as_json)


@command.command()
@click.argument("job_id")
@json_option
@pass_api
def show(api: Client, job_id: str, as_json: bool) -> None:
    """Print a job as it stands."""
    print_fields(api.job(job_id), as_json=as_json)


@command.command()
@click.argument("job_id")
@json_option
@pass_api
def history(api: Client, job_id: str, as_json: bool) -> None:
    """Print everything that happened to a job."""
    found = api.history(job_id)
    if as_json:
        print_json(found)
        return
    print_history(found["events"])
    if found["notes"]:
        click.echo(f"{len(found['notes'])} notes about what was ignored: see --json", err=True)


@command.command("why")
@click.argument("job_id")
@json_option
@pass_api
def print_why(api: Client, job_id: str, as_json: bool) -> None:
    """Say why a job does not move."""
    told = api.why(job_id)
    if as_json:
        print_json(told)
        return
    click.echo(f"{told['job_id']} is {told['status']} in {told['current_state']!r}.")
    for reason in told["reasons"]:
        about = "" if reason["job_id"] == job_id else f"{reason['job_id']}: "
        click.echo(f"{about}{reason['text']}")


@command.command()
@click.argument("job_id")
@json_option
@pass_api
def watch(api: Client, job_id: str, as_json: bool) -> None:
    """Show a job moving until it ends; exit 1 if it did not finish well."""
    _end_with(_follow(api, job_id, as_json=as_json))


@command.command()
@click.argument("job_id")
@json_option
@pass_api
def cancel(api: Client, job_id: str, as_json: bool) -> None:
    """Cancel a job: queued tasks of it are dropped, running ones are stopped."""
    print_fields(api.cancel(job_id), as_json=as_json)


@command.command()
@click.argument("job_id")
@pass_api
def retry(api: Client, job_id: str) -> None:
    """Have a quarantined job go on where it stood, or do an ended one again as a new job; prints the id."""
    answer = api.retry(job_id)
    click.echo(answer["job_id"] if "job_id" in answer else answer["id"])


@command.command()
@click.argument("job_id")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="A file.  [default: stdout]")
@pass_api
def export(api: Client, job_id: str, output: Path | None) -> None:
    """Write a job with its whole history as JSON, for `avtomatika replay`. Its data are in it."""
    text = json.dumps(api.export(job_id).as_json(), ensure_ascii=False, indent=1)
    if output is None:
        click.echo(text)
    else:
        output.write_text(text + "\n")


@command.command()
@click.argument("job_id")
@click.argument("decision", required=False)
@click.option("--comment", help="Stands in the history of the job.")
@click.option("--link", is_flag=True, help="Print a link by which somebody without a token can decide.")
@click.option("--expires-in", type=float, metavar="SECONDS", help="How long the link is good.  [default: a week]")
@json_option
@pass_api
def approve(
    api: Client,
    /,
    job_id: str,
    decision: str | None,
    comment: str | None,
    link: bool,
    expires_in: float | None,
    as_json: bool,
) -> None:
    """Decide what a job asks; without DECISION, print the question and what may be decided."""
    if link:
        made = api.approval_link(job_id, expires_in=expires_in)
        print_json(made) if as_json else click.echo(made["url"])
    elif decision is not None:
        print_fields(api.approve(job_id, decision, comment=comment), as_json=as_json)
    else:
        _print_question(api.job(job_id, fields=("status", "waiting_for")), as_json=as_json)


def _print_question(job: Job, *, as_json: bool) -> None:
    asked = job["waiting_for"]
    if asked is None or asked["kind"] != "approval":
        raise ConflictError(f"the job asks nothing: it is {job['status']}")
    print_fields(asked if as_json else {**asked, "decisions": ", ".join(asked["decisions"] or ())}, as_json=as_json)


@dataclass(frozen=True, slots=True)
class FileToSend:
    """A file that is named where data are expected: what the job gets is its URI."""

    path: Path


def initial_data(pairs: Sequence[str]) -> dict[str, Any]:
    """``["a=text", "b:=[1]", "c=@d"]`` as ``{"a": "text", "b": [1], "c": FileToSend(Path("d"))}``."""
    return _distinct(map(_typed_pair, pairs))


def why(job: Job) -> str:
    """What is known about why *job* did not finish."""
    return str((job["error"] or {}).get("message") or json.dumps(job["result"], ensure_ascii=False))


def _follow(api: Client, job_id: str, *, as_json: bool) -> Job:
    """Show the job moving; answer it when it is over."""
    for event in events_until_the_end(api, job_id):
        if as_json:
            print_json(event)
        else:
            click.echo(describe(event))
    return api.job(job_id)


def _end_with(job: Job) -> None:
    if job["status"] != JobStatus.FINISHED:
        click.echo(f"{job['id']} {job['status']}: {why(job)}", err=True)
        click.get_current_context().exit(1)


def _distinct(pairs: Iterable[tuple[str, T]]) -> dict[str, T]:
    """*pairs* as a dict; InvalidRequestError for a name that is given twice."""
    found: dict[str, T] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidRequestError(f"{name!r} is given twice")
        found[name] = value
    return found


def _typed_pair(text: str) -> tuple[str, Any]:
    key, value = _pair(text)
    if not key.endswith(":"):
        return key, _file(value[1:]) if value.startswith("@") else value
    try:
        return key[:-1], json.loads(value)
    except json.JSONDecodeError as error:
        raise InvalidRequestError(f"{text!r}: what follows := is no JSON: {error}") from None


def _file(name: str) -> FileToSend:
    path = Path(name).expanduser()
    if not path.is_file():
        raise InvalidRequestError(
            f"'@{name}': there is no such file; text that begins with @ is given as KEY:='\"@...\"'"
        )
    return FileToSend(path)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip(":"):
        raise InvalidRequestError(f"{text!r}: must be NAME=VALUE")
    return key, value
