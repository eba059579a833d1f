"""Controlling jobs: cancel one, resume a quarantined one, rerun an ended one."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import repeat

from flask import Response, jsonify, url_for

from avtomatika.core.job import Job, JobStatus, RecordedEntry
from avtomatika.core.machine.rerun import failed_state
from avtomatika.errors import AvtomatikaError, ConflictError, NotFoundError, TooManyRequestsError, UnavailableError
from avtomatika.schemas import answers
from avtomatika.schemas.api_job_lists import RetryQuerySchema
from avtomatika.schemas.job_view import JobView
from avtomatika.schemas.responses import dump, schema_of
from avtomatika.store import CreatedJob, NewJob

from ..auth import caller
from ..routes import Routes
from ..services import services
from .creation import create_each
from .jobs import callers_job, hold

routes = Routes("control", __name__, url_prefix="/api/v1/jobs", description="Control jobs")

#: Time limit for the job to process the signal before the response.
_WAIT_SECONDS = 2.0
#: Maximum number of such waits while a job is being cancelled.
_CANCEL_WAITS = 4


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
@routes.alt_response(
    202, schema=schema_of(answers.SubmittedJob), description="a new job with the same data was created"
)
def retry_job(wanted: dict[str, str], job_id: str) -> JobView | Response:
    """Resume a quarantined job, or rerun an ended one as a new job"""
    job = callers_job(job_id)
    if job.status is JobStatus.QUARANTINED:
        services().store.signal(job, "retry", by=caller().name)
        return updated_view(job)
    created = rerun(job, from_failed_state=wanted["start"] == "failed_state")
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


def rerun(job: Job, *, from_failed_state: bool = False) -> CreatedJob:
    """Rerun *job* as :func:`rerun_each` does. Raises ConflictError unless it has ended without finishing."""
    if not job.status.is_final or job.status is JobStatus.FINISHED:
        raise ConflictError(
            f"the job is {job.status}: only failed, broken, cancelled and quarantined jobs can be retried"
        )
    [made] = rerun_each([job], from_failed_state=from_failed_state)
    if isinstance(made, AvtomatikaError):
        raise made
    return made


def rerun_each(
    jobs: Sequence[Job], *, from_failed_state: bool, once: bool = False
) -> list[CreatedJob | AvtomatikaError]:
    """Rerun ended jobs as new ones with the same data and client, by the blueprints' current versions, in a few round
    trips; return the error of a job in its place, with *once* also of a job that was rerun before."""
    histories = services().store.histories([job.id for job in jobs]) if from_failed_state else repeat(None)
    news = [_rerun(job, history, once=once) for job, history in zip(jobs, histories, strict=False)]
    made = iter(create_each([[new] for new in news if isinstance(new, NewJob)]))
    return [_rerun_result(next(made)) if isinstance(new, NewJob) else new for new in news]


def _rerun_result(made: list[CreatedJob] | AvtomatikaError) -> CreatedJob | AvtomatikaError:
    if isinstance(made, AvtomatikaError):
        return made
    return ConflictError(f"the job was already retried as {made[0].job_id}") if made[0].existing else made[0]


def _rerun(job: Job, history: Iterable[RecordedEntry] | None, *, once: bool) -> NewJob | AvtomatikaError:
    fields = {**job.request_fields(), "retry_of": job.id, "reply": None, "traceparent": None}
    fields["on_conflict"] = None if job.unique_key is None else "reject"
    try:
        plan = services().plan(job.blueprint)
    except NotFoundError as error:
        return error
    if history is not None:
        state, data = failed_state(plan, job, (recorded.entry for recorded in history))
        if state not in plan.states:
            return ConflictError(f"the blueprint no longer has the state {state!r}, in which the job failed")
        fields |= {"state": state, "state_history": data, "delay_seconds": None, "at_ms": None}
    key = f"retry {job.id}" if once else None  # with a space: no client can use it
    return NewJob(plan=plan, client=job.client, idempotency_key=key, **fields)
