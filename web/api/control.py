"""Controlling jobs: cancel one, resume a quarantined one, rerun an ended one."""

from contextlib import suppress

from flask import Response, jsonify, url_for

from avtomatika.core.job import Job, JobStatus
from avtomatika.errors import ConflictError, TooManyRequestsError, UnavailableError
from avtomatika.schemas.api import AcceptedSchema, JobSchema, JobView
from avtomatika.store import CreatedJob, NewJob

from ..auth import caller
from ..routes import Routes
from ..services import services
from .creation import create
from .jobs import callers_job, hold

routes = Routes("control", __name__, url_prefix="/api/v1/jobs", description="Control jobs")

#: Time limit for the job to process the signal before the response.
_WAIT_SECONDS = 2.0
#: Maximum number of such waits while a job is being cancelled.
_CANCEL_WAITS = 4


@routes.post("/<job_id>/cancel")
@routes.response(200, JobSchema)
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
@routes.response(200, JobSchema)
@routes.alt_response(202, schema=AcceptedSchema, description="a new job with the same data was created")
def retry_job(job_id: str) -> JobView | Response:
    """Resume a quarantined job, or rerun an ended one as a new job"""
    job = callers_job(job_id)
    if job.status is JobStatus.QUARANTINED:
        services().store.signal(job, "retry", by=caller().name)
        return updated_view(job)
    created = rerun(job)
    response = jsonify(AcceptedSchema().dump(created))
    response.status_code = 202
    response.headers["Location"] = url_for("jobs.show_job", job_id=created.job_id)
    return response


def updated_view(job: Job) -> JobView:
    """Return the job after it has processed a signal, or unchanged after a time limit."""
    with suppress(
        UnavailableError, TooManyRequestsError
    ):  # the request cannot be held; the job processes the signal anyway
        hold(job, _WAIT_SECONDS)
    job = callers_job(job.id)
    return JobView(job, services().store.live_state(job))


def rerun(job: Job) -> CreatedJob:
    """Create a job with the same data and client, by the blueprint's current version. Raises ConflictError unless *job*
    has ended without finishing."""
    if not job.status.is_final or job.status is JobStatus.FINISHED:
        raise ConflictError(
            f"the job is {job.status}: only failed, broken, cancelled and quarantined jobs can be retried"
        )
    again = {**job.request_fields(), "retry_of": job.id, "reply": None}
    return create(NewJob(plan=services().plan(job.blueprint), client=job.client, **again))
