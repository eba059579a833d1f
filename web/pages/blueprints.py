"""Blueprints: their graphs and figures, and a form that starts a job."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flask import Response, request
from marshmallow import ValidationError

from avtomatika.core.graph.traffic import percentile
from avtomatika.core.job import Json
from avtomatika.core.machine.plan_migration import plan_name
from avtomatika.core.names import is_user_name
from avtomatika.core.plan import Plan
from avtomatika.core.value_types import object_type
from avtomatika.errors import InvalidRequestError, NotFoundError
from avtomatika.schemas.api_creation import request_schema
from avtomatika.schemas.responses import creation_path
from avtomatika.store import SERVED_WITHIN_MS

from ..api.creation import create, new_job
from ..auth import caller
from ..graphs import graph_response
from ..services import services
from .input_form import data_of, fields_of, texts
from .rendering import page
from .routes import routes, see_other

#: Open jobs on the page of a blueprint.
_RUNNING = 20


@routes.get("/blueprints")
def show_blueprints() -> Response:
    """List blueprints"""
    plans = [plan for name, plan in sorted(services().plans.items()) if is_user_name(name)]
    return page("blueprints.html", plans=plans, path_of=creation_path)


@routes.get("/blueprints/<name>")
def show_blueprint(name: str) -> Response:
    """Show a blueprint"""
    return _blueprint(_plan(name))


@routes.get("/blueprints/<name>/graph.svg")
def draw_blueprint(name: str) -> Response:
    """Draw the graph of a blueprint, for operators with the figures of its jobs"""
    plan = services().plan(name)
    overlay = services().store.traffic.of(plan) if caller().is_operator and "live" in request.args else None
    return graph_response(plan, format="svg", overlay=overlay)


@routes.post("/blueprints/<name>/jobs")
def start_job(name: str) -> Response:
    """Start a job with the data of the form"""
    plan = _plan(name)
    try:
        wanted = request_schema(plan)().load({"initial_data": data_of(_schema(plan), request.form)})
        created = create(new_job(plan, wanted))
    except ValidationError as error:
        return _blueprint(plan, faults=list(texts(error.messages_dict)))
    except InvalidRequestError as error:
        return _blueprint(plan, faults=list(texts(error.fields)) or [str(error)])
    return see_other("pages.show_job", job_id=created.job_id)


def _plan(name: str) -> Plan:
    """Return a blueprint of users. Raises NotFoundError."""
    if name.startswith("_"):
        raise NotFoundError("blueprint", name)
    return services().plan(name)


def _schema(plan: Plan) -> Mapping[str, Json]:
    return {} if plan.input is None else object_type(plan.input).schema


def _blueprint(plan: Plan, *, faults: Sequence[str] = ()) -> Response:
    figures = _figures(plan) if caller().is_operator else {}
    return page(
        "blueprint.html",
        **figures,
        status=422 if faults else 200,
        plan=plan,
        path=creation_path(plan),
        fields=fields_of(_schema(plan), request.form if faults else None, data_type=plan.input),
        faults=faults,
    )


def _figures(plan: Plan) -> dict[str, Any]:
    """Return the open jobs of the blueprint by state and plan, and how long its jobs take."""
    live = services().store.traffic.of(plan)
    traffic = live.traffic
    served = {
        plan_hash: silent_ms
        for name, silent_ms in live.silent_ms.items()
        if name == plan_name(plan.blueprint, plan_hash := name.rpartition("@")[2])
    }
    return {
        "live": live,
        "whole": _percentiles(traffic.left_ms.get(plan.start, ())),
        "states": [
            (name, traffic.jobs.get(name, 0), _percentiles(traffic.stayed_ms.get(name, ())) if is_left else None)
            for name, is_left in _states(plan, traffic.jobs)
        ],
        "plans": [
            (plan_hash, live.plans.get(plan_hash, 0), served.get(plan_hash))
            for plan_hash in sorted({*served, *live.plans}, key=lambda each: (each != plan.plan_hash, each))
        ],
        "running": [(job, live.expected_end_ms(job)) for job in live.running[:_RUNNING]],
        "served_within_ms": SERVED_WITHIN_MS,
    }


def _states(plan: Plan, jobs: Mapping[str, int]) -> Iterator[tuple[str, bool]]:
    """Yield the states of the plan, and those of other plans that have *jobs*; whether jobs leave them."""
    for name, state in plan.states.items():
        yield name, state.end is None
    for name in sorted(jobs.keys() - plan.states.keys()):
        yield name, True


def _percentiles(values: Sequence[int]) -> tuple[int, int] | None:
    return (percentile(values, 0.5), percentile(values, 0.95)) if values else None
