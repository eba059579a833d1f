"""Operations that create jobs and single tasks; both clients have each as a method."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypedDict, Unpack
from urllib.parse import quote

from avtomatika.core.jsonable import JsonObject, as_json
from avtomatika.errors import HandlerError, InvalidRequestError

from . import answers
from .steps import Request, Steps, json_answer


class _Options(TypedDict, total=False):
    delay: float | timedelta | None
    at: datetime | str | None
    priority: int
    fairness_key: str | None
    unique_key: str | None
    on_conflict: str | None
    labels: Mapping[str, str] | None
    webhook_url: str | None
    dispatch_timeout: float | timedelta | None
    execution_timeout: float | timedelta | None


class JobOptions(_Options, total=False):
    """Options of a job. It starts after *delay* or *at* a time with a time zone; durations are seconds or timedeltas,
    *priority* is 0 to 9, higher first. Tasks of different *fairness_key* take turns, by default those of different
    clients. One job with the same *unique_key* runs at a time: *on_conflict* is ``return_existing`` (the default),
    ``reject``, ``replace`` or ``queue``."""

    result_timeout: float | timedelta | None


class TaskOptions(_Options, total=False):
    """Options of a single task: those of a job, the maximum number of *retries*, and the *time_limit* of an attempt."""

    retries: int | None
    time_limit: float | timedelta | None


def submit(
    endpoint: str,
    initial_data: JsonObject | None = None,
    *,
    idempotency_key: str | None = None,
    **options: Unpack[JobOptions],
) -> Steps[answers.SubmittedJob]:
    """Create a job.

    *endpoint* is the last part of ``/api/v1/jobs/...``, or a path (the ``url`` of a blueprint). With an
    *idempotency_key* it is safe to repeat the call after UnavailableError: the job is created once.
    """
    body = {"initial_data": {} if initial_data is None else initial_data, **options}
    return json_answer(answers.SubmittedJob, _creation(endpoint, "", body, idempotency_key))


def submit_many(
    endpoint: str, jobs: Sequence[Mapping[str, Any]], *, idempotency_key: str | None = None
) -> Steps[answers.SubmittedJobs]:
    """Create up to 1,000 jobs, either all or none. Each of *jobs* is a request body: ``initial_data``, ``priority``,
    ``labels`` and so on."""
    body = {"jobs": [dict(job) for job in jobs]}
    return json_answer(answers.SubmittedJobs, _creation(endpoint, "/batch", body, idempotency_key))


def send_task(
    skill: str,
    params: Mapping[str, Any] | None = None,
    *,
    idempotency_key: str | None = None,
    **options: Unpack[TaskOptions],
) -> Steps[answers.SubmittedJob]:
    """Create a job that runs *skill* once, without a blueprint. *idempotency_key* is as in ``submit``."""
    body = {"params": dict(params or {}), **options}
    return json_answer(answers.SubmittedJob, _creation(_tasks_path(skill), "", body, idempotency_key))


def send_tasks(
    skill: str,
    params: Sequence[Mapping[str, Any]],
    *,
    idempotency_key: str | None = None,
    **options: Unpack[TaskOptions],
) -> Steps[answers.SubmittedJobs]:
    """Create up to 1,000 jobs that run *skill* with one of *params* each, either all or none. *options* are as in
    ``send_task``, the same for all."""
    body = {"tasks": [{"params": dict(each), **options} for each in params]}
    return json_answer(answers.SubmittedJobs, _creation(_tasks_path(skill), "/batch", body, idempotency_key))


def _creation(endpoint: str, suffix: str, body: Mapping[str, Any], key: str | None) -> Request:
    path = endpoint if endpoint.startswith("/") else f"/api/v1/jobs/{endpoint}"
    try:
        plain = as_json({name: value for name, value in body.items() if value is not None}, "request")
    except HandlerError as error:
        raise InvalidRequestError(str(error)) from None
    return Request(
        "POST", path + suffix, json=plain, headers={} if key is None else {"Idempotency-Key": key}, is_creation=True
    )


def _tasks_path(skill: str) -> str:
    return f"/api/v1/tasks/{quote(skill, safe='')}"
