"""``avtomatika blueprints``: list, check, draw and compare blueprints.

Only ``plan`` and ``--live`` need a server.
"""

from difflib import get_close_matches
from pathlib import Path

import click

from avtomatika.core.blueprint.blueprint import Blueprint
from avtomatika.core.graph.dot import Overlay, dot
from avtomatika.core.plan import STEPS, TASKS, Binding, Plan
from avtomatika.drawing import draw
from avtomatika.errors import BlueprintError, NotFoundError
from avtomatika.loading import load_blueprints

from .api import api_options, connected
from .arguments import blueprints_option, output_option
from .output import json_option, print_table
from .rehearsal import rehearse_blueprint
from .worker import default_worker

_LIST_COLUMNS = ("name", "plan", "states", "skills", "queues", "endpoint")
_GRAPH_FILE = click.Path(path_type=Path, dir_okay=False)
_RULE_COLUMNS = ("exchange", "routing_key", "queue", "next_states")


@click.group("blueprints")
def command() -> None:
    """List, check and draw blueprints; compare them with the server."""


@command.command("list")
@blueprints_option
@json_option
def list_blueprints(blueprints: str, as_json: bool) -> None:
    """List blueprints with plan, states, skills and queues."""
    rows = [_row(blueprint) for blueprint in load_blueprints(blueprints)]
    print_table(rows, _LIST_COLUMNS, as_json=as_json)


@command.command()
@click.option(
    "--live", is_flag=True, help="Also check that unfinished jobs on the server can continue under these plans."
)
@click.option(
    "--worker",
    "workers",
    envvar="AVTOMATIKA_WORKER",
    multiple=True,
    metavar="MODULE:WORKER",
    help="Worker (module:worker or file.py:worker) that must have the skills of all tasks. Repeatable.",
)
@blueprints_option
@json_option
@click.pass_context
def check(ctx: click.Context, live: bool, workers: tuple[str, ...], blueprints: str, as_json: bool) -> None:
    """Compile all blueprints and print errors with state and line. Exits 1 if there are any.

    Task types for which no worker has a skill are errors if the workers are named with --worker or AVTOMATIKA_WORKER
    (separated by spaces), and notes if the only worker is ./worker.py.

    With --live, also print the states and outcomes that jobs of earlier plans need and these plans do not have, and how
    many jobs need each retired state.
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
                f"{plan.blueprint}@{plan.plan_hash}: {len(plan.states)} states, {len(plan.bindings)} routing rules",
                err=as_json,
            )
    refused += _check_skills(plans, workers)
    if live:
        from .blueprints_live import check_jobs

        refused += not check_jobs(plans, as_json=as_json)
    ctx.exit(1 if refused else 0)


def _check_skills(plans: list[Plan], workers: tuple[str, ...]) -> int:
    """Print the task types that none of *workers* has a skill for; return the number of errors."""
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
@click.option(
    "--apply", is_flag=True, help="Apply the changes: declare missing queues and bindings, delete unneeded queues."
)
@blueprints_option
@json_option
@click.pass_context
def plan_routing(ctx: click.Context, name: str | None, apply: bool, blueprints: str, as_json: bool) -> None:
    """Compare queues and bindings with those on the server.

    NAME limits it to one blueprint. --apply makes the changes.

    Step queues of earlier plans are removed unless they hold messages, an orchestrator serves their plan, or jobs need
    it. Exits 1 if a queue is kept for one of these reasons.
    """
    from .blueprints_live import plan_routing

    ctx.exit(0 if plan_routing(plans_of(blueprints, name), apply=apply, as_json=as_json) else 1)


@command.command()
@click.argument("name", required=False)
@click.option(
    "--all",
    "with_events",
    is_flag=True,
    help="Also print bindings of internal events (_retry, _timeout, ...), which do not change the state.",
)
@blueprints_option
@json_option
def routes(name: str | None, with_events: bool, blueprints: str, as_json: bool) -> None:
    """Print the bindings that blueprints (or only NAME) compile to."""
    plans = plans_of(blueprints, name)
    steps = [binding for plan in plans for binding in plan.bindings if with_events or binding.targets]
    tasks = sorted({task_type for plan in plans for task_type in plan.task_types})
    rows = [*map(_step_rule, steps), *map(_task_rule, tasks)]
    print_table(rows, _RULE_COLUMNS, as_json=as_json)


@command.command()
@click.argument("name")
@click.option("--format", "form", type=click.Choice(["dot", "svg", "png"]), default="dot", help="Output format.")
@output_option
@click.option("--live", is_flag=True, help="Include live data of jobs and queues from the server.")
@blueprints_option
@api_options
@click.pass_context
def graph(ctx: click.Context, name: str, form: str, output: Path | None, live: bool, blueprints: str) -> None:
    """Draw the states and transitions of blueprint NAME.

    --live adds the number of jobs in each state and of messages in each queue, and for each transition how many recent
    jobs took it, how long it took, and how many attempts failed.
    """
    if live:
        picture = connected(ctx).blueprint_graph(name, format=form, live=True)
    else:
        (plan,) = plans_of(blueprints, name)
        picture = drawn(plan, form)
    if output is None:
        click.echo(picture, nl=False)
    else:
        output.write_bytes(picture)


@command.command()
@click.argument("name")
@click.option("--since", metavar="TIME", help="Only jobs created since: a time with a zone, or an age such as 1d.")
@click.option("--limit", type=click.IntRange(1), default=1000, help="Maximum number of jobs, the newest ones.")
@click.option(
    "--graph", type=_GRAPH_FILE, help="Draw how often each transition was taken and is now: .dot, .svg, .png."
)
@click.option("--fail-on-change", is_flag=True, help="Exit 1 if the path of a job changes.")
@blueprints_option
@json_option
@api_options
@click.pass_context
def rehearse(
    ctx: click.Context,
    name: str,
    since: str | None,
    limit: int,
    graph: Path | None,
    fail_on_change: bool,
    blueprints: str,
    as_json: bool,
) -> None:
    """Run the code of blueprint NAME in memory against its last ended jobs, and print the paths that change.

    Results of tasks, decisions and child jobs are the recorded ones; nothing is sent. A path that ends with a task or
    an approval needs a result that was not recorded.
    """
    is_changed = rehearse_blueprint(
        connected(ctx), name, blueprints, since=since, limit=limit, graph=graph, as_json=as_json
    )
    ctx.exit(1 if is_changed and fail_on_change else 0)


def drawn(plan: Plan, form: str, overlay: Overlay | None = None) -> bytes:
    """Return the graph of *plan* in a format of Graphviz."""
    source = dot(plan, overlay=overlay)
    return f"{source.rstrip()}\n".encode() if form == "dot" else draw(source, form)


def plans_of(blueprints: str, name: str | None) -> list[Plan]:
    """Return the plans of all blueprints, or that of *name*."""
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
        "plan": plan.plan_hash,
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
