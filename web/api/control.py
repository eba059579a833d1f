"""Interfering with jobs: cancel one, or try again what ended badly or rests in quarantine."""

from __future__ import annotations

from contextlib import suppress

from flask import Response, jsonify, url_for

from avtomatika.core.job import Job, JobStatus
from avtomatika.errors import ConflictError, TooManyRequestsError, UnavailableError
from avtomatika.schemas.api import AcceptedSchema, JobSchema, JobView
from avtomatika.store import NewJob

from ..auth import caller
from ..routes import Routes
from ..services import services
from .creation import create
from .jobs import callers_job, hold

routes = Routes("control", __name__, url_prefix="/api/v1/jobs", description="Interfere with jobs")

#: How long an answer waits for the job to do as it was told.
_PATIENCE_SECONDS = 2.0
#: How often it waits so long for a job that is being cancelled.
_CANCEL_WAITS = 4


@routes.post("/<job_id>/cancel")
@routes.response(200, JobSchema)
def cancel_job(job_id: str) -> JobView:
    """Cancel a job: its queued tasks are dropped, running ones are stopped"""
    job = callers_job(job_id)
    services().store.signal(job, "cancel", by=caller().name)
    for _ in range(_CANCEL_WAITS):
        view = as_it_is_then(job)
        if view.job.status.is_final or view.job.version == job.version:
            break
        job = view.job
    if view.job.status.is_final and view.job.status is not JobStatus.CANCELLED:
        raise ConflictError(f"the job is over already: {view.job.status}")
    return view


@routes.post("/<job_id>/retry")
@routes.response(200, JobSchema)
@routes.alt_response(202, schema=AcceptedSchema, description="a new job does again what the ended one did")
def retry_job(job_id: str) -> JobView | Response:
    """Have a quarantined job go on where it stood, or do an ended one again as a new job"""
    job = callers_job(job_id)
    if job.status is JobStatus.QUARANTINED:
        services().store.signal(job, "retry", by=caller().name)
        return as_it_is_then(job)
    if not job.status.is_final or job.status is JobStatus.FINISHED:
        raise ConflictError(
            f"the job is {job.status}: only what failed, broke, was cancelled or rests can be tried again"
        )
    created = create(_again(job))
    response = jsonify(AcceptedSchema().dump(created))
    response.status_code = 202
    response.headers["Location"] = url_for("jobs.show_job", job_id=created.job_id)
    return response


def as_it_is_then(job: Job) -> JobView:
    """The job once it has done as it was told, or after a moment in vain."""
    with suppress(UnavailableError, TooManyRequestsError):  # no place to wait at: it does as it was told all the same
        hold(job, _PATIENCE_SECONDS)
    job = callers_job(job.id)
    return JobView(job, services().store.live_state(job))


def _again(job: Job) -> NewJob:
    """The same once more, by the blueprint as it is now, for the same client."""
    return NewJob(
        plan=services().plan(job.blueprint),
        client=job.client,
        initial_data=dict(job.initial_data),
        priority=job.priority,
        labels=dict(job.labels),
        webhook_url=job.webhook_url,
        retry_of=job.id,
        dispatch_timeout_seconds=job.dispatch_timeout_seconds,
        result_timeout_seconds=job.result_timeout_seconds,
        execution_timeout_seconds=job.execution_timeout_seconds,
    )
