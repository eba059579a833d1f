"""``avtomatika jobs``: create, show and control jobs over the HTTP API."""

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import click

from avtomatika.client import Client
from avtomatika.client.answers import Job
from avtomatika.core.job import JobStatus
from avtomatika.errors import ConflictError

from .api import api_command, api_options, creation_url, pass_api
from .arguments import creation_options, distinct_labels, output_option, timeout_option, uploaded_data
from .history import describe, events_until_the_end, print_history
from .many_jobs import filter_options, or_many
from .output import filter_option, print_fields, print_json, print_table
from .rehearsal import rehearsal_options, show_rehearsal
from .streams import logs
from .terminal import visible

T = TypeVar("T")

#: The largest page of the API.
_LONGEST_PAGE = 200
_LIST_COLUMNS = ("id", "status", "blueprint_name", "current_state", "tries", "updated_at")
_TRY_COLUMNS = ("tries", "id", "status", "current_state", "retry_of", "fork_of", "created_at")


@click.group("jobs")
@api_options
def command() -> None:
    """Submit, list, watch, cancel and retry jobs."""


command.add_command(logs)


@api_command(command)
@click.argument("blueprint")
@click.argument("data", nargs=-1, metavar="[KEY=TEXT | KEY:=JSON | KEY=@FILE]...")
@creation_options
@click.option("--wait", is_flag=True, help="Print its history until it ends. Exits 1 unless the job finishes.")
@timeout_option
def submit(
    api: Client,
    /,
    blueprint: str,
    data: Sequence[str],
    labels: Sequence[str],
    wait: bool,
    timeout: float | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Create a job of BLUEPRINT and print its id.

    Initial data: KEY=TEXT sets a string, KEY:=JSON any JSON value, and KEY=@FILE uploads a file to S3 and sets its URI.

    \b
        avtomatika jobs submit photo path=/tmp/lake.jpg sizes:='[320, 640]'
        avtomatika jobs submit video video=@movie.mp4
    """
    given = {name: value for name, value in options.items() if value is not None}
    url, uploaded = creation_url(api, blueprint), uploaded_data(api, data)
    job_id = api.submit(url, uploaded, labels=distinct_labels(labels), **given)["job_id"]
    if wait:
        _end_with(_follow(api, job_id, timeout=timeout, as_json=as_json))
    elif as_json:
        print_json({"job_id": job_id})
    else:
        click.echo(job_id)


@api_command(command, "list")
@filter_options
@filter_option("--limit", type=click.IntRange(1), default=50, help="Maximum number of jobs to print.")
@click.option("--oldest-first", is_flag=True, help="List the oldest jobs first.")
@click.option("--archived", is_flag=True, help="List jobs of the archive too.")
def list_jobs(api: Client, /, limit: int, as_json: bool, **wanted: Any) -> None:
    """List jobs, newest first."""
    found = api.jobs(**wanted, page_size=min(limit, _LONGEST_PAGE))
    jobs = list(islice(found, limit))
    print_table(jobs, _LIST_COLUMNS, as_json=as_json)


@api_command(command)
@click.argument("job_id")
def show(api: Client, job_id: str, as_json: bool) -> None:
    """Print a job: status, state, data, result or error, and its other tries and forks."""
    print_fields(api.job(job_id), as_json=as_json)
    if not as_json and len(tries := api.tries(job_id)) > 1:
        click.echo()
        print_table(tries, _TRY_COLUMNS)


@api_command(command)
@click.argument("job_id")
def history(api: Client, job_id: str, as_json: bool) -> None:
    """Print the history of a job."""
    found = api.history(job_id)
    if as_json:
        print_json(found)
        return
    print_history(found["events"])
    if found["notes"]:
        click.echo(f"{len(found['notes'])} notes about ignored events: see --json", err=True)


@api_command(command, "why")
@click.argument("job_id")
def print_why(api: Client, job_id: str, as_json: bool) -> None:
    """Explain why a job does not move."""
    explanation = api.why(job_id)
    if as_json:
        print_json(explanation)
        return
    click.echo(f"{explanation['job_id']} is {explanation['status']} in {explanation['current_state']!r}.")
    for reason in explanation["reasons"]:
        about = "" if reason["job_id"] == job_id else f"{reason['job_id']}: "
        click.echo(visible(f"{about}{reason['text']}"))


@api_command(command)
@click.argument("job_id")
@timeout_option
def watch(api: Client, job_id: str, timeout: float | None, as_json: bool) -> None:
    """Print the history of a job, and what its skills write, until it ends. Exits 1 unless the job finishes."""
    _end_with(_follow(api, job_id, timeout=timeout, as_json=as_json))


@api_command(command)
@or_many("cancel")
def cancel(api: Client, job_id: str, as_json: bool) -> None:
    """Cancel a job, or all jobs that match: drop queued tasks and stop the running ones."""
    print_fields(api.cancel(job_id), as_json=as_json)


@command.command()
@click.option(
    "--from",
    "start",
    metavar="STATE",
    help="Continue in this state; `start`: at the beginning.  [default: what failed]",
)
@pass_api
@or_many("retry", rehearses=True)
def retry(api: Client, job_id: str, start: str | None) -> None:
    """Resume a quarantined job, or continue an ended one from the state that failed; or all jobs that match.

    The job that continues is a new one with the data and results of the other up to there. Prints its id.

    \b
        avtomatika jobs retry --status failed --blueprint video --since 1d --rehearse
        avtomatika jobs retry --status failed --blueprint video --since 1d --yes
    """
    answer = api.retry(job_id, start=start)
    click.echo(answer["job_id"] if "job_id" in answer else answer["id"])


@command.command()
@click.argument("job_id")
@click.option(
    "--at", required=True, metavar="STATE", help="State that the job entered, `start`, or number of an entry."
)
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="Data to change, as in submit. Repeatable.")
@click.option("--yes", is_flag=True, help="With --rehearse, also start it.")
@rehearsal_options
@pass_api
def fork(
    api: Client, /, job_id: str, at: str, pairs: Sequence[str], rehearse: bool, yes: bool, blueprints: str
) -> None:
    """Start a new job where another one was, with its data there. Prints the id of the new job.

    \b
        avtomatika jobs fork ID --at encode --set quality=high --set sizes:='[320]'
    """
    place = int(at) if at.isdecimal() else at
    changes = uploaded_data(api, pairs)
    if not rehearse or (show_rehearsal(api, [job_id], blueprints, place, changes) and yes):
        click.echo(api.fork(job_id, place, set=changes)["job_id"])


@command.command()
@click.argument("job_id")
@output_option
@pass_api
def export(api: Client, job_id: str, output: Path | None) -> None:
    """Export a job with its data and whole history as JSON.

    `avtomatika replay` reruns it.
    """
    text = json.dumps(api.export(job_id).as_json(), ensure_ascii=False, indent=1)
    if output is None:
        click.echo(text)
    else:
        output.write_text(text + "\n")


@api_command(command)
@click.option("--comment", help="Comment, shown in the history of the job.")
@click.option("--link", is_flag=True, help="Print a link that lets a person decide without a token.")
@click.option(
    "--expires-in", type=float, metavar="SECONDS", help="Seconds until the link expires.  [default: 604800, a week]"
)
@click.option("--recipient", metavar="CLIENT", help="With --link: the client that it is for.")
@or_many("approve")
@click.argument("decision", required=False)
@click.argument("pairs", metavar="[FIELD=VALUE]...", nargs=-1)
def approve(
    api: Client,
    /,
    job_id: str,
    decision: str | None,
    pairs: Sequence[str],
    comment: str | None,
    link: bool,
    expires_in: float | None,
    recipient: str | None,
    as_json: bool,
) -> None:
    """Answer the approval that a job waits for, or approve all jobs that match.

    Without DECISION, print the question and the possible decisions. FIELD=VALUE is the data that its form asks for:
    text, or JSON as FIELD:=VALUE.
    """
    if link:
        made = api.approval_link(job_id, expires_in=expires_in, recipient=recipient)
        print_json(made) if as_json else click.echo(made["url"])
    elif decision is not None:
        data = uploaded_data(api, pairs) if pairs else None
        print_fields(api.approve(job_id, decision, comment=comment, data=data), as_json=as_json)
    else:
        _print_question(api.job(job_id, fields=("status", "waiting_for")), as_json=as_json)
        click.echo(f"nothing is decided yet: avtomatika jobs approve {job_id} DECISION", err=True)


@api_command(command)
@click.option("--comment", help="Comment, shown in the history of the job.")
@or_many("reject")
def reject(api: Client, job_id: str, comment: str | None, as_json: bool) -> None:
    """Reject the approval that a job waits for, or those of all jobs that match."""
    print_fields(api.approve(job_id, "rejected", comment=comment), as_json=as_json)


@command.command("signal")
@click.argument("job_id")
@click.argument("name")
@click.argument("pairs", metavar="[FIELD=VALUE]...", nargs=-1)
@click.option("--idempotency-key", help="A second request with the same key changes nothing.")
@pass_api
def send_signal(api: Client, job_id: str, name: str, pairs: Sequence[str], idempotency_key: str | None) -> None:
    """Send the signal NAME to a job, which takes it when it waits for it.

    FIELD=VALUE is its data: text, or JSON as FIELD:=VALUE.

    \b
        avtomatika jobs signal g0-01M854CG0886N24BD575GNDYWD paid amount:=3 currency=EUR
    """
    api.signal(job_id, name, uploaded_data(api, pairs) if pairs else None, idempotency_key=idempotency_key)


def _print_question(job: Job, *, as_json: bool) -> None:
    asked = job["waiting_for"]
    if asked is None or asked["kind"] != "approval":
        raise ConflictError(f"the job does not wait for a decision: it is {job['status']}")
    print_fields(asked if as_json else {**asked, "decisions": ", ".join(asked["decisions"] or ())}, as_json=as_json)


def why(job: Job) -> str:
    """Return the reason why *job* did not finish."""
    return str((job["error"] or {}).get("message") or json.dumps(job["result"], ensure_ascii=False))


def _follow(api: Client, job_id: str, *, timeout: float | None, as_json: bool) -> Job:
    """Print the history and the stream until the job ends or for *timeout* seconds; return the job."""
    for event in events_until_the_end(api, job_id, timeout=timeout):
        if as_json:
            print_json(event)
        else:
            click.echo(describe(event))
    return api.job(job_id)


def _end_with(job: Job) -> None:
    if job["status"] != JobStatus.FINISHED:
        has_ended = JobStatus(job["status"]).is_final or job["status"] == JobStatus.QUARANTINED
        reason = visible(why(job)) if has_ended else "it has not ended in time"
        click.echo(f"{job['id']} {job['status']}: {reason}", err=True)
        click.get_current_context().exit(1)
