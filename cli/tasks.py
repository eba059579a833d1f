"""Single tasks: run one skill, without a blueprint."""

from collections.abc import Sequence
from typing import Any

import click

from avtomatika.client import Client
from avtomatika.client.tasks import TaskHandle

from .api import api_command, api_options
from .arguments import creation_options, distinct_labels, timeout_option, uploaded_data
from .output import print_json


@click.group("tasks")
@api_options
def command() -> None:
    """Send single tasks to workers."""


@api_command(command)
@click.argument("skill")
@click.argument("params", nargs=-1, metavar="[KEY=TEXT | KEY:=JSON | KEY=@FILE]...")
@creation_options
@click.option("--retries", type=click.IntRange(0), help="Maximum number of retries.  [default: JOB_MAX_RETRIES]")
@click.option("--time-limit", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Limit of an attempt.")
@click.option("--wait", is_flag=True, help="Wait for the result and print it as JSON. Exits 1 if the task fails.")
@timeout_option
def send(
    api: Client,
    /,
    skill: str,
    params: Sequence[str],
    labels: Sequence[str],
    wait: bool,
    timeout: float | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Send a task to any worker with SKILL, and print the id of its job.

    Parameters: KEY=TEXT sets a string, KEY:=JSON any JSON value, and KEY=@FILE uploads a file to S3 and sets its URI.

    \b
        avtomatika tasks send resize path=/tmp/lake.jpg width:=320 --wait
    """
    given = {name: value for name, value in options.items() if value is not None}
    job_id = api.send_task(skill, uploaded_data(api, params), labels=distinct_labels(labels), **given)["job_id"]
    if wait:
        try:
            print_json(TaskHandle[Any](api, job_id, lambda value: value).wait(timeout))
        except TimeoutError as error:
            raise click.ClickException(str(error)) from None
    elif as_json:
        print_json({"job_id": job_id})
    else:
        click.echo(job_id)
