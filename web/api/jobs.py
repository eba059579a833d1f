"""Showing jobs."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from flask import Response, jsonify, request
from werkzeug.exceptions import ClientDisconnected

from avtomatika.core.explain.why import explain
from avtomatika.core.graph.job_path import JobPath
from avtomatika.core.job import Job, RecordedEntry
from avtomatika.core.machine.waits import may_decide
from avtomatika.core.names import JOB_ID
from avtomatika.errors import NotFoundError
from avtomatika.schemas import answers
from avtomatika.schemas.api_fields import rfc3339
from avtomatika.schemas.api_job_lists import JobFilterSchema, JobListQuerySchema
from avtomatika.schemas.api_requests import GraphQuerySchema, HistoryQuerySchema, JobQuerySchema
from avtomatika.schemas.job_view import JobView
from avtomatika.schemas.responses import dump
from avtomatika.store import JobCounts, JobFilter
from avtomatika.store.job_watcher import Follower

from ..auth import READING, caller, require_operator
from ..connections import connection_of, is_disconnected
from ..graphs import graph_response
from ..routes import Routes
from ..services import services

routes = Routes("jobs", __name__, url_prefix="/api/v1/jobs", description="Show jobs")


@routes.get("")
@routes.arguments(JobListQuerySchema, location="query")
@routes.response(200, answers.JobList)
def list_jobs(wanted: dict[str, Any]) -> dict[str, Any]:
    """List jobs, newest first or oldest first"""
    jobs, cursor = services().store.list_jobs(job_filter(wanted))
    return {"jobs": [JobView(job) for job in jobs], "next": cursor}


@routes.get("/counts")
@routes.arguments(JobFilterSchema, location="query")
@routes.response(200, answers.JobCounts)
def count_jobs(wanted: dict[str, Any]) -> JobCounts:
    """Count jobs by status"""
    return services().store.count_by_status(job_filter(wanted))


@routes.get("/<job_id>")
@routes.arguments(JobQuerySchema, location="query")
@routes.response(200, answers.Job)
def show_job(wanted: dict[str, Any], job_id: str) -> JobView | Response:
    """Show a job, at once or when it changes"""
    job = callers_job(job_id)
    if wanted["wait"] and not job.status.is_final:
        hold(job, wanted["wait"])
        job = callers_job(job_id)
    view = JobView(job, services().store.live_state(job))
    return jsonify(dump(answers.Job, view, only=wanted["shown"])) if wanted["shown"] else view


@routes.get("/<job_id>/history")
@routes.arguments(HistoryQuerySchema, location="query")
@routes.response(200, answers.History)
def show_history(wanted: dict[str, Any], job_id: str) -> dict[str, Any]:
    """Show the history of a job, oldest event first"""
    callers_job(job_id)
    events, following = services().store.history(job_id, **wanted)
    notes = [_dated(note) for note in services().store.notes(job_id)]
    return {"job_id": job_id, "events": events, "notes": notes, "next": following}


@routes.get("/<job_id>/why")
@routes.response(200, answers.Why)
def show_why(job_id: str) -> dict[str, Any]:
    """Explain why a job does not proceed"""
    job = callers_job(job_id)
    reasons = explain(services().store.job_facts.facts(job))
    return {"job_id": job.id, "status": job.status, "current_state": job.current_state, "reasons": reasons}


@routes.get("/<job_id>/graph")
@routes.arguments(GraphQuerySchema, location="query")
@routes.response(200, {"type": "string"}, content_type="text/vnd.graphviz")
def show_path(wanted: dict[str, Any], job_id: str) -> Response:
    """Draw the graph of the job's blueprint with the path of the job"""
    job = callers_job(job_id)
    plan = services().plan(job.blueprint)
    path = JobPath.of(plan, job, whole_history(job_id), now_ms=services().store.clock.now_ms())
    return graph_response(plan, format=wanted["format"], overlay=path)


def job_filter(wanted: dict[str, Any], **more: Any) -> JobFilter:
    """Return the filter for *wanted*, limited to the jobs that the client may see.

    Those whose approvals the client is asked to decide (``mine``) are among them. Raises ForbiddenError if it asks for
    the jobs of another client.
    """
    if wanted["client"] not in (None, caller().name):
        require_operator()
    owner = wanted["client"] if caller().is_operator or wanted["mine"] else caller().name
    fields = {name: value for name, value in wanted.items() if not name.startswith("created_") and name != "mine"}
    fields["decider"] = (caller().name, *caller().roles) if wanted["mine"] else ()
    times = {f"{name}_ms": _epoch_ms(wanted[name]) for name in ("created_after", "created_before")}
    return JobFilter(**{**fields, "client": owner, "labels": tuple(wanted["labels"]), **times, **more})


def _epoch_ms(when: int | timedelta | None) -> int | None:
    """Return a time, given as one or as an age, in milliseconds since the epoch."""
    if not isinstance(when, timedelta):
        return when
    return round(services().store.clock.now_ms() - when.total_seconds() * 1000)


def hold(job: Job, seconds: float, *, streamed_after: int | None = None) -> None:
    """Hold the request until *job* changes, or its stream has entries after *streamed_after*, at most *seconds*.

    Raises UnavailableError and TooManyRequestsError.
    """
    follower = Follower(job, after=streamed_after or 0, reads_stream=streamed_after is not None)
    connection = connection_of(request)
    with services().held.hold_slot(caller().name, connection, on_disconnect=follower.end):
        services().watcher.wait(follower, seconds)
    if is_disconnected(connection):
        raise ClientDisconnected


def callers_job(job_id: str, *, is_decided: bool = False) -> Job:
    """Return a job that the client may see, or change; with *is_decided*, whose approval it may decide. A job of
    another client is reported like one that does not exist."""
    job = services().store.load(checked_id(job_id))
    if job is None:
        raise NotFoundError("job", job_id)
    check_visible(job, is_decided=is_decided)
    return job


def checked_id(job_id: str) -> str:
    """Return *job_id*. Raises NotFoundError if no job can have it."""
    if not JOB_ID.fullmatch(job_id):
        raise NotFoundError("job", job_id)
    return job_id


def check_visible(job: Job, *, is_decided: bool = False) -> None:
    """Raise NotFoundError for a job that the client may not see."""
    if not is_visible(job, is_decided=is_decided or request.method in READING):
        raise NotFoundError("job", job.id)


def is_visible(job: Job, *, is_decided: bool) -> bool:
    """Return True for a job of the client, for an operator, and with *is_decided* for those who decide its approval."""
    if caller().is_operator or job.client == caller().name:
        return True
    return is_decided and job.wait is not None and may_decide(job.wait.details, caller().name, caller().roles)


def whole_history(job_id: str) -> Iterator[RecordedEntry]:
    return next(services().store.histories([job_id]))


def _dated(note: dict[str, Any]) -> dict[str, Any]:
    """Return *note* with its time in the format of the API."""
    rest = {name: value for name, value in note.items() if name != "timestamp_ms"}
    return {"timestamp": rfc3339(note["timestamp_ms"]), **rest}
