"""``avtomatika files``: upload, list and download files of jobs through the HTTP API."""

from pathlib import Path

import click

from avtomatika.client import Client

from .api import api_command, api_options, pass_api
from .output import print_json, print_table
from .terminal import progress

_COLUMNS = ("name", "size", "modified_at")


@click.group("files")
@api_options
def command() -> None:
    """Upload, list and download the files of jobs."""


@api_command(command, "list")
@click.argument("job_id")
def list_files(api: Client, job_id: str, as_json: bool) -> None:
    """List the files of a job by name."""
    print_table(list(api.files(job_id)), _COLUMNS, as_json=as_json)


@command.command()
@click.argument("job_id")
@click.argument("name")
@click.argument("path", required=False, type=click.Path(path_type=Path), default=Path())
@pass_api
def get(api: Client, job_id: str, name: str, path: Path) -> None:
    """Download a file of a job and print its local path.

    NAME is a name printed by `files list`, or the end of one. PATH is the target file or folder, by default the working
    directory.
    """
    with progress(name) as show:
        local = api.download(job_id, name, path, on_progress=show)
    click.echo(local)


@api_command(command)
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--job", "job_id", help="Job that the file belongs to.  [default: usable by all your jobs]")
def put(api: Client, path: Path, job_id: str | None, as_json: bool) -> None:
    """Upload a file to S3 and print its URI for use in job data."""
    with progress(path.name) as show:
        uri = api.upload(path, job_id=job_id, on_progress=show)
    if as_json:
        print_json({"uri": uri})
    else:
        click.echo(uri)


@api_command(command)
@click.argument("uri")
def lineage(api: Client, uri: str, as_json: bool) -> None:
    """Print which job created a file and which jobs use it."""
    found = api.lineage(uri)
    if as_json:
        print_json(found)
        return
    made_by = found["made_by"] or {}
    rows = [{"what": f"made by a {made_by['kind']}", **made_by}] if made_by else []
    rows += [{"what": "used", "job_id": use["job_id"], "state": ", ".join(use["where"])} for use in found["used_by"]]
    print_table(rows, ("what", "job_id", "task_id", "state", "worker_id"))
    if not found["is_complete"]:
        click.echo("incomplete: only the newest jobs were searched", err=True)
