"""Options that select jobs, and commands that act on one job or on all that match."""

from collections.abc import Callable
from functools import update_wrapper
from itertools import islice
from typing import Any

import click

from avtomatika.client import Client
from avtomatika.client.answers import ActionRefusal
from avtomatika.client.job_lists import Action, JobFilter
from avtomatika.core.job import JobStatus
from avtomatika.core.machine.rerun import FAILED_STATE

from .output import C, filter_option, print_json
from .rehearsal import MOST_REHEARSED, rehearsal_options, show_rehearsal
from .terminal import progress, visible

_AGES = "a time with a zone, or an age such as 90m or 1d"
_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--status",
        multiple=True,
        type=click.Choice([str(status) for status in JobStatus]),
        metavar="STATUS",
        help=f"Only jobs with this status. Repeatable. One of: {', '.join(JobStatus)}.",
    ),
    filter_option("--blueprint", metavar="NAME", help="Only jobs of this blueprint."),
    filter_option("--state", metavar="NAME", help="Only jobs in this state."),
    click.option("--label", multiple=True, metavar="NAME=VALUE", help="Only jobs with this label. All must match."),
    filter_option("--since", "created_after", metavar="TIME", help=f"Only jobs created since: {_AGES}."),
    filter_option("--until", "created_before", metavar="TIME", help="Only jobs created before, as --since."),
    filter_option("--text", help="Only jobs with this text in their error."),
    click.option("--mine", is_flag=True, help="Only jobs whose approval names you or one of your roles."),
)
_CHOICES = (
    click.option("--dry-run", is_flag=True, help="Print how many jobs match, and change nothing."),
    click.option("--yes", is_flag=True, help="Do not ask for a confirmation."),
)


def filter_options(command: C) -> C:
    """Add the options of a :class:`JobFilter`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def or_many(action: Action, *, rehearses: bool = False) -> Callable[[C], C]:
    """Let a command, whose argument is then optional, act on all jobs that match options; it may rehearse retries."""

    def decorate(command: C) -> C:
        def invoke(
            api: Client,
            /,
            job_id: str | None,
            dry_run: bool,
            yes: bool,
            rehearse: bool = False,
            blueprints: str = "",
            **options: Any,
        ) -> None:
            wanted = JobFilter(**{name: options.pop(name) for name in JobFilter.__annotations__ if name in options})  # type: ignore[typeddict-item]
            if (job_id is None) is not any(wanted.values()):
                raise click.UsageError("give a JOB_ID, or options that select jobs such as --status failed")
            if rehearse:
                ids = [job_id] if job_id is not None else _first_jobs(api, wanted)
                if not show_rehearsal(api, ids, blueprints, options["start"] or FAILED_STATE) or not yes:
                    return
            if job_id is not None:
                command(api, job_id=job_id, **options)
            else:
                _act(api, action, wanted, options, dry_run=dry_run, yes=yes)

        decorated = filter_options(update_wrapper(invoke, command))
        for option in reversed(_CHOICES):
            decorated = option(decorated)
        decorated = rehearsal_options(decorated) if rehearses else decorated
        return click.argument("job_id", required=False)(decorated)  # type: ignore[return-value]

    return decorate


def _first_jobs(api: Client, wanted: JobFilter) -> list[str]:
    """Return the ids of the ended jobs that would be retried first."""
    statuses = [each for each in ("failed", "error", "cancelled") if each in (wanted.get("status") or [each])]
    if not statuses:
        return []
    chosen: JobFilter = {**wanted, "status": statuses}
    found = api.jobs(**chosen, page_size=MOST_REHEARSED)
    return [job["id"] for job in islice(found, MOST_REHEARSED)]


def _act(api: Client, action: Action, wanted: JobFilter, options: dict[str, Any], *, dry_run: bool, yes: bool) -> None:
    as_json, comment = options.get("as_json", False), options.get("comment")
    [preview] = api.act_on_jobs(action, filter=wanted, dry_run=True)
    more = "" if preview["is_exact"] else " or more"
    names = ", ".join(f"{visible(name)} {number:,}" for name, number in preview["blueprints"].items())
    click.echo(f"{preview['matched']:,} jobs{more}{names and ': ' + names}", err=as_json)
    if dry_run and as_json:
        print_json(preview)
    if dry_run or not preview["matched"]:
        return
    if not yes:
        click.confirm(f"{action.replace('_', ' ').capitalize()}?", abort=True, err=as_json)
    done, refused, refusals = 0, 0, list[ActionRefusal]()
    with progress() as show:
        for part in api.act_on_jobs(action, filter=wanted, comment=comment, start=options.get("start")):
            done, refused, refusals = done + part["done"], refused + part["refused"], refusals + part["refusals"]
            show(done + refused, max(preview["matched"], done + refused))
    click.echo(f"{done:,} done, {refused:,} refused", err=True)
    for refusal in refusals:
        click.echo(f"{refusal['job_id']}: {visible(refusal['reason'])}", err=True)
    if as_json:
        print_json({"done": done, "refused": refused, "refusals": refusals})
