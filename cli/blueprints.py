"""``avtomatika blueprints ...``: what users wrote, and what it compiles into.

A server is needed only by what compares it with what is there.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

import click

from avtomatika.client import Client
from avtomatika.core.blueprint.blueprint import Blueprint
from avtomatika.core.graph.dot import dot
from avtomatika.core.plan import STEPS, TASKS, Binding, Plan
from avtomatika.drawing import draw
from avtomatika.errors import BlueprintError, NotFoundError
from avtomatika.loading import load_blueprints

from .api import api_options, connected, operations
from .output import json_option, print_table
from .worker import default_worker

_LIST_COLUMNS = ("name", "plan", "states", "skills", "queues", "endpoint")
_RULE_COLUMNS = ("exchange", "routing_key", "queue", "next_states")

_blueprints_option = click.option(
    "--blueprints", envvar="BLUEPRINTS", default="blueprints/", help="Modules, files or folders, comma-separated."
)


@click.group("blueprints")
def command() -> None:
    """Look at blueprints and at what they compile into."""


@command.command("list")
@_blueprints_option
@json_option
def list_blueprints(blueprints: str, as_json: bool) -> None:
    """Print the blueprints that there are."""
    rows = [_row(blueprint) for blueprint in load_blueprints(blueprints)]
    print_table(rows, _LIST_COLUMNS, as_json=as_json)


@command.command()
@click.option("--live", is_flag=True, help="Also the jobs that there are: whether these plans can go on with them.")
@click.option(
    "--worker",
    "workers",
    envvar="AVTOMATIKA_WORKER",
    multiple=True,
    help="module:worker or file.py:worker whose skills the tasks must name; may be given several times.",
)
@_blueprints_option
@json_option
@click.pass_context
def check(ctx: click.Context, live: bool, workers: tuple[str, ...], blueprints: str, as_json: bool) -> None:
    """Compile every blueprint; print what is wrong with state and line. Exit 1 if anything is.

    Task types that no worker has a skill for are printed. They are errors if the workers are named by --worker or
    AVTOMATIKA_WORKER (separated by spaces), and a note if it is only ./worker.py.

    With --live: print which states and outcomes are missing that jobs of earlier plans stand in or wait for.
    """
    refused = 0
    plans: list[Plan] = []
    for blueprint in load_blueprints(blueprints):
        try:
            plan = blueprint.compile()
        except BlueprintError as error:
            refused += 1
            click.echo(f"refused: {error}", err=True)
        else:
            plans.append(plan)
            click.echo(
                f"{plan.blueprint}@{plan.plan8}: {len(plan.states)} states, {len(plan.bindings)} routing rules",
                err=as_json,
            )
    refused += _check_skills(plans, workers)
    if live:
        from .blueprints_live import check_jobs

        refused += not check_jobs(plans, as_json=as_json)
    ctx.exit(1 if refused else 0)


def _check_skills(plans: list[Plan], workers: tuple[str, ...]) -> int:
    """Print the task types that none of *workers* has a skill for; how many are errors."""
    named = workers or tuple(filter(None, [default_worker()]))
    if not named:
        return 0
    from avtomatika.worker.run import load_worker

    skills = {skill for spec in named for skill in load_worker(spec).skills}
    missing = [
        (plan.blueprint, state, task)
        for plan in plans
        for state in plan.states.values()
        for task in state.task_types
        if task not in skills
    ]
    for blueprint, state, task in missing:
        near = get_close_matches(task, skills, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        line = f", line {state.line}" if state.line else ""
        where = f"blueprint {blueprint!r}, state {state.name!r}{line}"
        kind = "refused" if workers else "note"
        click.echo(f"{kind}: {where}: {', '.join(named)} has no skill {task!r}{hint}", err=True)
    return len(missing) if workers else 0


@command.command("plan")
@click.argument("name", required=False)
@click.option("--apply", is_flag=True, help="Do it: declare what is missing, remove what nothing needs.")
@_blueprints_option
@json_option
@click.pass_context
def plan_routing(ctx: click.Context, name: str | None, apply: bool, blueprints: str, as_json: bool) -> None:
    """Compare the queues and bindings of blueprints (or only NAME) with those on the server.

    Step queues of earlier plans are to be removed, but kept while they hold messages, an orchestrator serves their
    plan, or jobs need it: then it ends with exit code 1.
    """
    from .blueprints_live import plan_routing

    ctx.exit(0 if plan_routing(_plans(blueprints, name), apply=apply, as_json=as_json) else 1)


@command.command()
@click.argument("name", required=False)
@click.option(
    "--all", "with_events", is_flag=True, help="Also those of a state's own events, which stay where they are."
)
@_blueprints_option
@json_option
def routes(name: str | None, with_events: bool, blueprints: str, as_json: bool) -> None:
    """Print the routing rules that blueprints (or only NAME) compile into."""
    plans = _plans(blueprints, name)
    steps = [binding for plan in plans for binding in plan.bindings if with_events or binding.targets]
    tasks = sorted({task_type for plan in plans for task_type in plan.task_types})
    rows = [*map(_step_rule, steps), *map(_task_rule, tasks)]
    print_table(rows, _RULE_COLUMNS, as_json=as_json)


@command.command()
@click.argument("name")
@click.option("--format", "form", type=click.Choice(["dot", "svg", "png"]), default="dot")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write.  [default: stdout]"
)
@click.option("--live", is_flag=True, help="With what its jobs and queues on the server do.")
@_blueprints_option
@api_options
@click.pass_context
def graph(ctx: click.Context, name: str, form: str, output: Path | None, live: bool, blueprints: str) -> None:
    """Draw the states and transitions of blueprint NAME.

    With --live: how many jobs are where, what waits in the queues, and of each transition how many of the last jobs
    took it, how long that took, and how many attempts failed.
    """
    api = connected(ctx, operations) if live else None
    if isinstance(api, Client):
        picture = api.blueprint_graph(name, format=form, live=True)
    else:
        (plan,) = _plans(blueprints, name)
        source = dot(plan, overlay=None if api is None else api.traffic(plan))
        picture = f"{source.rstrip()}\n".encode() if form == "dot" else draw(source, form)
    if output is None:
        click.echo(picture, nl=False)
    else:
        output.write_bytes(picture)


def _plans(blueprints: str, name: str | None) -> list[Plan]:
    found = {blueprint.name: blueprint for blueprint in load_blueprints(blueprints)}
    if name is None:
        return [blueprint.compile() for blueprint in found.values()]
    if name not in found:
        raise NotFoundError("blueprint", name, known=found)
    return [found[name].compile()]


def _row(blueprint: Blueprint) -> dict[str, object]:
    plan = blueprint.compile()
    return {
        "name": plan.blueprint,
        "plan": plan.plan8,
        "states": len(plan.states),
        "skills": ", ".join(plan.task_types),
        "queues": ", ".join(plan.queues),
        "endpoint": f"/api/{plan.api_version}/{plan.api_endpoint}" if plan.api_endpoint else None,
    }


def _step_rule(binding: Binding) -> dict[str, object]:
    return {
        "exchange": STEPS,
        "routing_key": str(binding.key),
        "queue": binding.queue,
        "next_states": ", ".join(binding.targets),
    }


def _task_rule(task_type: str) -> dict[str, object]:
    return {"exchange": TASKS, "routing_key": task_type, "queue": task_type, "next_states": None}
