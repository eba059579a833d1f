"""Creating jobs: one path for each blueprint that has an endpoint."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from flask import request, url_for

from avtomatika import tracing
from avtomatika.core.job_request import load_request
from avtomatika.core.plan import Plan
from avtomatika.errors import AvtomatikaError, BlueprintError, InvalidRequestError, NotFoundError
from avtomatika.schemas.answers import SubmittedJob, SubmittedJobs
from avtomatika.schemas.api_creation import LARGEST_BATCH, JobRequestSchema, batch_schema, request_schema
from avtomatika.schemas.api_requests import IDEMPOTENCY_KEY
from avtomatika.schemas.responses import creation_path
from avtomatika.store import CreatedJob, NewJob

from ..auth import caller
from ..routes import Routes
from ..services import services

IDEMPOTENCY_PARAMETER = {
    "in": "header",
    "name": "Idempotency-Key",
    "schema": {"type": "string", "pattern": f"^{IDEMPOTENCY_KEY.pattern}$"},
    "example": "order-4711",
    "description": "a repeated request with the same key and body returns the same job",
}


def creation_routes(plans: Iterable[Plan]) -> Routes:
    """Return the routes for the endpoints of *plans*. Raises BlueprintError if two plans have the same endpoint."""
    routes = Routes("creation", __name__, description="Create jobs")
    owners = {"/api/v1/jobs/actions": "avtomatika"}
    for plan in plans:
        path = creation_path(plan)
        if path is None:
            continue
        for taken in (path, f"{path}/batch"):
            owner = owners.setdefault(taken, plan.blueprint)
            if owner != plan.blueprint:
                message = f"{taken} is already the endpoint of the blueprint {owner!r}"
                raise BlueprintError(message, blueprint=plan.blueprint)
        schema = request_schema(plan)
        for rule, endpoint, view in (
            (path, plan.blueprint, _creation(routes, plan, schema)),
            (f"{path}/batch", f"{plan.blueprint}-batch", _batch_creation(routes, plan, schema)),
        ):
            routes.add_url_rule(rule, endpoint, view, methods=["POST"], parameters=[IDEMPOTENCY_PARAMETER])
    return routes


def unknown_endpoint(endpoint: str) -> NoReturn:
    """Answer a ``POST`` to an endpoint of no blueprint."""
    paths = filter(None, map(creation_path, services().plans.values()))
    raise NotFoundError("job endpoint", endpoint, known=[path.rpartition("/")[2] for path in paths])


def _creation(routes: Routes, plan: Plan, schema: type[JobRequestSchema]) -> Callable[..., Any]:
    def create_job(wanted: dict[str, Any]) -> tuple[CreatedJob, dict[str, str]]:
        created = create(new_job(plan, wanted))
        return created, {"Location": url_for("jobs.show_job", job_id=created.job_id)}

    create_job.__doc__ = f"Create a job of the blueprint {plan.blueprint}"
    takes, gives = routes.arguments(schema), routes.response(202, SubmittedJob)
    view: Callable[..., Any] = routes.doc(operationId=f"create_{plan.blueprint}_job")(takes(gives(create_job)))
    return view


def _batch_creation(routes: Routes, plan: Plan, schema: type[JobRequestSchema]) -> Callable[..., Any]:
    def create_jobs(wanted: dict[str, Any]) -> dict[str, list[str]]:
        created = create_many([new_job(plan, each) for each in wanted["jobs"]])
        return {"job_ids": [each.job_id for each in created]}

    create_jobs.__doc__ = f"Create up to {LARGEST_BATCH} jobs of the blueprint {plan.blueprint}: all of them, or none"
    takes, gives = routes.arguments(batch_schema(plan, schema)), routes.response(202, SubmittedJobs)
    view: Callable[..., Any] = routes.doc(operationId=f"create_{plan.blueprint}_jobs")(takes(gives(create_jobs)))
    return view


def new_job(plan: Plan, wanted: dict[str, Any], *, skill: str | None = None) -> NewJob:
    """Return the caller's request for a job of *plan*, or for a task of *skill*."""
    trace = {"traceparent": tracing.checked(request.headers.get("traceparent"))}
    fields = {**load_request(wanted), "skill": skill, **trace}
    return NewJob(plan=plan, client=caller().name, idempotency_key=idempotency_key(), **fields)


def create(new: NewJob) -> CreatedJob:
    """Create a job; see :func:`create_many`."""
    return create_many([new])[0]


def create_many(news: Sequence[NewJob]) -> list[CreatedJob]:
    """Create jobs of one client and one plan; all of them, or none."""
    [made] = create_each([news])
    if isinstance(made, AvtomatikaError):
        raise made
    return made


def create_each(batches: Sequence[Sequence[NewJob]]) -> list[list[CreatedJob] | AvtomatikaError]:
    """Create the jobs of each batch as :func:`create_many` does, or return its error; declare the plans that the broker
    does not know."""
    accounts = {news[0].client: services().clients.get(news[0].client) for news in batches}
    monthly = {name: None if account is None else account.monthly_attempts for name, account in accounts.items()}
    return services().store.create_each(batches, monthly=monthly, declare=_declare)


def _declare(*skills: str) -> None:
    """Declare the plans, and the queues of skills that have none, if the caller may name that many."""
    services().limits.check_new_skills(caller().name, skills)
    services().declare(*skills)


def idempotency_key() -> str | None:
    """Return the header ``Idempotency-Key``. Raises InvalidRequestError."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not IDEMPOTENCY_KEY.fullmatch(key):
        message = "must be 1 to 255 ASCII characters without spaces"
        raise InvalidRequestError(f"the Idempotency-Key {message}", fields={"Idempotency-Key": [message]})
    return key
