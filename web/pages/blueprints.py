"""Blueprints: their graphs and figures, and a form that starts a job."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flask import Response, request
from marshmallow import ValidationError

from avtomatika.core.names import is_user_name
from avtomatika.core.plan import Plan
from avtomatika.errors import InvalidRequestError, NotFoundError
from avtomatika.schemas.api_requests import request_schema
from avtomatika.schemas.responses import creation_path

from ..api.creation import create, new_job
from ..auth import caller
from ..graphs import graph_response
from ..services import services
from .input_form import WHOLE, fields_of, input_of
from .rendering import page
from .routes import routes, see_other


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
        wanted = request_schema(plan)().load({"initial_data": input_of(plan, request.form)})
        created = create(new_job(plan, wanted))
    except ValidationError as error:
        return _blueprint(plan, faults=list(_texts(error.messages_dict)))
    except InvalidRequestError as error:
        return _blueprint(plan, faults=list(_texts(error.fields)) or [str(error)])
    return see_other("pages.show_job", job_id=created.job_id)


def _plan(name: str) -> Plan:
    """Return a blueprint of users. Raises NotFoundError."""
    if name.startswith("_"):
        raise NotFoundError("blueprint", name)
    return services().plan(name)


def _texts(messages: Any, name: str = "") -> Iterator[str]:
    """Yield the texts of nested messages, each with its field."""
    if isinstance(messages, Mapping):
        for field, each in messages.items():
            yield from _texts(each, name if field == WHOLE else field)
    elif isinstance(messages, str):
        yield f"{name}: {messages}" if name else messages
    else:
        for each in messages:
            yield from _texts(each, name)


def _blueprint(plan: Plan, *, faults: Sequence[str] = ()) -> Response:
    return page(
        "blueprint.html",
        status=422 if faults else 200,
        plan=plan,
        path=creation_path(plan),
        fields=fields_of(plan, request.form if faults else None),
        faults=faults,
    )
