"""``avtomatika files ...``: files of jobs over HTTP, through the Python client."""

from __future__ import annotations

from pathlib import Path

import click

from avtomatika.client import Client

from .api import api_options, pass_api
from .output import json_option, print_json, print_table

_COLUMNS = ("name", "size", "modified_at")


@click.group("files")
@api_options
def command() -> None:
    """Send files to jobs, list and fetch them."""


@command.command("list")
@click.argument("job_id")
@json_option
@pass_api
def list_files(api: Client, job_id: str, as_json: bool) -> None:
    """Print the files of a job, by name."""
    print_table(list(api.files(job_id)), _COLUMNS, as_json=as_json)


@command.command()
@click.argument("job_id")
@click.argument("name")
@click.argument("path", required=False, type=click.Path(path_type=Path), default=Path())
@pass_api
def get(api: Client, job_id: str, name: str, path: Path) -> None:
    """Fetch a file of a job to PATH and print where it is.

    NAME is what `files list` says, or the end of it. PATH is a file, or a folder to put it into.
    """
    click.echo(api.download(job_id, name, path))


@command.command()
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--job", "job_id", help="Make it a file of this job.  [default: for all jobs of yours]")
@json_option
@pass_api
def put(api: Client, path: Path, job_id: str | None, as_json: bool) -> None:
    """Send a file to S3 and print its URI, for the data of jobs."""
    uri = api.upload(path, job_id=job_id)
    if as_json:
        print_json({"uri": uri})
    else:
        click.echo(uri)


@command.command()
@click.argument("uri")
@json_option
@pass_api
def lineage(api: Client, uri: str, as_json: bool) -> None:
    """Print which job has made a file, and which ones use it."""
    found = api.lineage(uri)
    if as_json:
        print_json(found)
        return
    made_by = found["made_by"] or {}
    rows = [{"what": f"made by a {made_by['kind']}", **made_by}] if made_by else []
    rows += [{"what": "used", "job_id": use["job_id"], "state": ", ".join(use["where"])} for use in found["used_by"]]
    print_table(rows, ("what", "job_id", "task_id", "state", "worker_id"))
    if not found["is_complete"]:
        click.echo("only the newest jobs were looked through", err=True)
