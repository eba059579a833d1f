"""Creating jobs: one path for each blueprint that has an endpoint."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from flask import request, url_for

from avtomatika.core.plan import Plan
from avtomatika.errors import BlueprintError, InvalidRequest, NoRoute, NotFound
from avtomatika.schemas.api import AcceptedSchema, creation_path
from avtomatika.schemas.api_requests import JobRequestSchema
from avtomatika.store import Created, NewJob

from ..access import caller
from ..routes import Routes
from ..site import site

#: Printable ASCII, because an error may show it.
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_IDEMPOTENCY_PARAMETER = {
    "in": "header",
    "name": "Idempotency-Key",
    "schema": {"type": "string", "maxLength": 255},
    "description": "asking again with the same key and the same body answers the same job",
}


def creation_routes(plans: Iterable[Plan]) -> Routes:
    """``POST`` for the endpoint of each plan. Raises BlueprintError where two plans want the same."""
    routes = Routes("creation", __name__, description="Create jobs")
    owners: dict[str, str] = {}
    for plan in plans:
        path = creation_path(plan)
        if path is None:
            continue
        owner = owners.setdefault(path, plan.blueprint)
        if owner != plan.blueprint:
            raise BlueprintError(f"{path} is the endpoint of the blueprint {owner!r} already", blueprint=plan.blueprint)
        view = _creation(routes, plan)
        routes.add_url_rule(path, plan.blueprint, view, methods=["POST"], parameters=[_IDEMPOTENCY_PARAMETER])
    return routes


def unknown_endpoint(endpoint: str) -> NoReturn:
    """Answers a ``POST`` to an endpoint that no blueprint has."""
    paths = filter(None, map(creation_path, site().plans.values()))
    raise NotFound("job endpoint", endpoint, known=[path.rpartition("/")[2] for path in paths])


def _creation(routes: Routes, plan: Plan) -> Callable[..., Any]:
    def create_job(wanted: dict[str, Any]) -> tuple[Created, dict[str, str]]:
        created = create(_new_job(plan, wanted))
        return created, {"Location": url_for("jobs.show_job", job_id=created.job_id)}

    create_job.__doc__ = f"Create a job of the blueprint {plan.blueprint}"
    view: Callable[..., Any] = routes.arguments(JobRequestSchema)(routes.response(202, AcceptedSchema)(create_job))
    return view


def _new_job(plan: Plan, wanted: dict[str, Any]) -> NewJob:
    return NewJob(
        plan=plan,
        client=caller().name,
        initial_data=wanted["initial_data"],
        priority=wanted["priority"],
        labels=wanted["labels"],
        webhook_url=wanted["webhook_url"],
        dispatch_timeout_seconds=wanted["dispatch_timeout"],
        result_timeout_seconds=wanted["result_timeout"],
        idempotency_key=_idempotency_key(),
    )


def create(new: NewJob) -> Created:
    """Create a job; what its plan needs is declared where the broker does not know it."""
    try:
        return site().store.create(new)
    except NoRoute:  # a new blueprint that no orchestrator has declared yet, or a server that lost its data
        site().declare()
        return site().store.create(new)


def _idempotency_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
        message = "must be 1 to 255 ASCII characters without spaces"
        raise InvalidRequest(f"the Idempotency-Key {message}", fields={"Idempotency-Key": [message]})
    return key
