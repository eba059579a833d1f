"""Controlling jobs: cancel one, resume a quarantined one, continue an ended one as a new one, or fork any."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import repeat
from typing import Any

from flask import Response, jsonify, url_for

from avtomatika.core.job import Job, JobStatus, Json, RecordedEntry
from avtomatika.core.machine.rerun import START, divided, start_point
from avtomatika.errors import AvtomatikaError, ConflictError, NotFoundError, TooManyRequestsError, UnavailableError
from avtomatika.schemas import answers
from avtomatika.schemas.api_job_lists import ForkSchema, RetryQuerySchema
from avtomatika.schemas.job_view import JobView
from avtomatika.schemas.responses import dump, schema_of
from avtomatika.store import CreatedJob, NewJob, UnreadableJob

from ..auth import caller
from ..routes import Routes
from ..services import services
from .creation import create, create_each
from .jobs import callers_job, hold

routes = Routes("control", __name__, url_prefix="/api/v1/jobs", description="Control jobs")

#: Time limit for the job to process the signal before the response.
_WAIT_SECONDS = 2.0
#: Maximum number of such waits while a job is being cancelled.
_CANCEL_WAITS = 4
#: Maximum number of earlier jobs, besides the first, that a job knows.
MOST_ORIGINS = 50


@routes.post("/<job_id>/cancel")
@routes.response(200, answers.Job)
def cancel_job(job_id: str) -> JobView:
    """Cancel a job: queued tasks are dropped, running ones are stopped"""
    job = callers_job(job_id)
    services().store.signal(job, "cancel", by=caller().name)
    for _ in range(_CANCEL_WAITS):
        view = updated_view(job)
        if view.job.status.is_final or view.job.version == job.version:
            break
        job = view.job
    if view.job.status.is_final and view.job.status is not JobStatus.CANCELLED:
        raise ConflictError(f"the job is already {view.job.status}")
    return view


@routes.post("/<job_id>/retry")
@routes.arguments(RetryQuerySchema, location="query")
@routes.response(200, answers.Job)
@routes.alt_response(202, schema=schema_of(answers.SubmittedJob), description="a new job was created")
def retry_job(wanted: dict[str, str], job_id: str) -> JobView | Response:
    """Resume a quarantined job, or continue an ended one as a new job"""
    job = callers_job(job_id)
    if job.status is JobStatus.QUARANTINED:
        services().store.signal(job, "retry", by=caller().name)
        return updated_view(job)
    return _accepted(rerun(job, start=wanted["start"]))


@routes.post("/<job_id>/fork")
@routes.arguments(ForkSchema)
@routes.response(202, answers.SubmittedJob)
def fork_job(wanted: dict[str, Any], job_id: str) -> Response:
    """Start a new job at a point of the history of any job"""
    return _accepted(fork(callers_job(job_id), wanted["at"], wanted["changes"]))


@routes.get("/<job_id>/tries")
@routes.response(200, answers.Tries)
def show_tries(job_id: str) -> dict[str, Any]:
    """List the tries and forks of a job, oldest first"""
    return {"jobs": [JobView(job) for job in tries_of(callers_job(job_id))]}


def tries_of(job: Job) -> list[Job]:
    """Return *job* and the readable others of its tries and forks, oldest first."""
    found = services().store.tries(job)
    return [each for each in found if each.client == job.client and not isinstance(each, UnreadableJob)]


def _accepted(created: CreatedJob) -> Response:
    response = jsonify(dump(answers.SubmittedJob, created))
    response.status_code = 202
    response.headers["Location"] = url_for("jobs.show_job", job_id=created.job_id)
    return response


def updated_view(job: Job) -> JobView:
    """Return the job after it has processed a signal, or unchanged after a time limit."""
    with suppress(
        UnavailableError, TooManyRequestsError
    ):  # the request cannot be held; the job processes the signal anyway
        hold(job, _WAIT_SECONDS)
    job = services().store.load(job.id) or job
    return JobView(job, services().store.live_state(job))


def fork(job: Job, at: str | int, changes: Mapping[str, Json]) -> CreatedJob:
    """Create a job that starts where *job* was *at* a state or a history entry, with *changes* of its data.

    A key that only ``initial_data`` has is changed there. Raises ConflictError if there is no such point.
    """
    [history] = services().store.histories([job.id])
    new = _continuing(job, history, at, fork_of=job.id)
    own, others = divided(changes, job.initial_data, None if new.point is None else new.point.state_history)
    if new.point is not None:
        new = replace(new, point=replace(new.point, state_history={**new.point.state_history, **others}))
    return create(replace(new, initial_data={**job.initial_data, **own}))


def rerun(job: Job, *, start: str) -> CreatedJob:
    """Rerun *job* as :func:`rerun_each` does. Raises ConflictError unless it has ended without finishing."""
    if not job.status.is_final or job.status is JobStatus.FINISHED:
        raise ConflictError(
            f"the job is {job.status}: only failed, broken, cancelled and quarantined jobs can be retried; "
            "a fork starts a new job from any other"
        )
    [made] = rerun_each([job], start=start)
    if isinstance(made, AvtomatikaError):
        raise made
    return made


def rerun_each(jobs: Sequence[Job], *, start: str, once: bool = False) -> list[CreatedJob | AvtomatikaError]:
    """Continue ended jobs as new ones of the same client, by the blueprints' current versions, in a few round trips.

    *start* is a state, or one of the words of ``core.machine.rerun``. Returns the error of a job in its place, with
    *once* also of a job that was rerun before.
    """
    histories = repeat(()) if start == START else services().store.histories([job.id for job in jobs])
    news = [_rerun(job, history, start, once=once) for job, history in zip(jobs, histories, strict=False)]
    made = iter(create_each([[new] for new in news if isinstance(new, NewJob)]))
    return [_rerun_result(next(made)) if isinstance(new, NewJob) else new for new in news]


def _rerun_result(made: list[CreatedJob] | AvtomatikaError) -> CreatedJob | AvtomatikaError:
    if isinstance(made, AvtomatikaError):
        return made
    return ConflictError(f"the job was already retried as {made[0].job_id}") if made[0].existing else made[0]


def _rerun(job: Job, history: Iterable[RecordedEntry], start: str, *, once: bool) -> NewJob | AvtomatikaError:
    key = f"retry {job.id}" if once else None  # with a space: no client can use it
    try:
        return _continuing(job, history, start, retry_of=job.id, tries=1 + (job.tries or 1), idempotency_key=key)
    except (NotFoundError, ConflictError) as error:
        return error


def _continuing(job: Job, history: Iterable[RecordedEntry], at: str | int, **changes: Any) -> NewJob:
    """Return the request for a job that continues *job* at a point of its history; single tasks start again."""
    plan = services().plan(job.blueprint)
    origins = [*(job.origins or ()), job.id]
    fields = job.request_fields() | dict.fromkeys(("retry_of", "tries", "fork_of", "reply", "traceparent"))
    fields |= {"on_conflict": None if job.unique_key is None else "reject"}
    fields |= {"origins": origins[:1] + origins[1:][-MOST_ORIGINS:], **changes}
    point = None
    if at != START and not plan.states[plan.start].ends_with_task:
        point = start_point(plan, job, history, at)
        fields |= {"delay_seconds": None, "at_ms": None}
    return NewJob(plan=plan, client=job.client, point=point, **fields)
