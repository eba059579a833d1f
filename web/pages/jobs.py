"""The list of jobs, with filters, and actions on the selected ones or on all that match."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response, request
from marshmallow import ValidationError

from avtomatika.core.job import JobStatus
from avtomatika.core.names import is_user_name
from avtomatika.errors import InvalidRequestError
from avtomatika.schemas.api_job_lists import JobListQuerySchema
from avtomatika.store import Reading

from ..api.jobs import job_filter
from ..services import services
from .rendering import page
from .routes import routes, see_other

#: What separates labels: spaces before the name of the next one.
_LABEL_SPACE = re.compile(r"\s+(?=[\w-]+=)")
#: Statuses in the order of the page: what a person has to look at first.
STATUSES = (
    JobStatus.QUARANTINED,
    JobStatus.ERROR,
    JobStatus.FAILED,
    JobStatus.WAITING_FOR_HUMAN,
    JobStatus.WAITING_FOR_WORKER,
    JobStatus.WAITING_FOR_PARALLEL,
    JobStatus.WAITING_FOR_CHILD,
    JobStatus.WAITING_FOR_SIGNAL,
    JobStatus.WAITING_FOR_TIMER,
    JobStatus.PENDING,
    JobStatus.RUNNING,
    JobStatus.FINISHED,
    JobStatus.CANCELLED,
)
#: Ages that the page offers as filters.
_AGES = {"1h": "last hour", "1d": "last day", "7d": "last week"}


@routes.get("/jobs")
def show_jobs() -> Response:
    """List jobs, newest first"""
    given = given_filter(request.args)
    if job_id := request.args.get("id", "").strip():
        return see_other("pages.show_job", job_id=job_id)
    wanted = load_filter(given)
    store = services().store
    readings: Sequence[Reading[Any]] = (
        store.read_list(job_filter(wanted)),
        store.read_counts(job_filter({**wanted, "status": None, "cursor": None})),
    )
    (jobs, cursor), counts = store.read_together(*readings)
    return page(
        "jobs.html",
        jobs=jobs,
        cursor=cursor,
        given=given,
        counts=counts,
        statuses=STATUSES,
        ages=_AGES,
        blueprints=blueprint_names(),
        has_archive=store.archive is not None,
    )


def blueprint_names() -> list[str]:
    """Return the names of the blueprints of users."""
    return sorted(filter(is_user_name, services().plans))


def given_filter(values: Mapping[str, str]) -> dict[str, str]:
    """Return the filter in a query or a form, without empty fields."""
    known = JobListQuerySchema().fields
    names = {field.data_key or name for name, field in known.items()}
    return {name: value.strip() for name, value in values.items() if name in names and value.strip()}


def load_filter(given: Mapping[str, str]) -> dict[str, Any]:
    """Validate a filter. Raises InvalidRequestError."""
    try:
        loaded: dict[str, Any] = JobListQuerySchema().load(fields_of(given))
    except ValidationError as error:
        messages = dict(error.messages_dict)
        words = "; ".join(f"{name} {_first(text)}" for name, text in messages.items())
        raise InvalidRequestError(f"the filter is invalid: {words}", fields=messages) from None
    return loaded


def fields_of(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of the API for a filter: several labels are separated by spaces."""
    return {name: _LABEL_SPACE.split(value) if name == "label" else value for name, value in given.items()}


def _first(messages: Any) -> str:
    """Return the first text in nested messages of marshmallow."""
    while not isinstance(messages, str):
        messages = next(iter(messages.values() if isinstance(messages, dict) else messages))
    return str(messages)
