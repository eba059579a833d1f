"""The page of one job: why it is where it is, its graph, its time, its history and its data."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus

from flask import Response, request

from avtomatika.core.explain.narrative import has_failed, narrate
from avtomatika.core.explain.timeline import Bar, Row, timeline
from avtomatika.core.explain.waiting import waiting_for
from avtomatika.core.explain.why import explain
from avtomatika.core.job import Job, JobStatus, RecordedEntry
from avtomatika.core.machine.rerun import FAILED_STATE
from avtomatika.core.names import is_user_name
from avtomatika.errors import ConflictError, InvalidRequestError, NotFoundError
from avtomatika.store import UnreadableJob

from ..api import control, signals
from ..api.jobs import callers_job, check_visible, checked_id
from ..auth import caller
from ..services import services
from .input_form import Field, data_of, fields_of
from .rendering import page
from .routes import routes, see_other

#: Entries of the history on the page.
_ENTRIES = 500
#: Maximum age of the figures from which the end of a job is expected: reading them takes round trips.
_FORECAST_SECONDS = 60.0
#: Statuses of jobs that are worth another run.
_RETRIED = frozenset({JobStatus.FAILED, JobStatus.ERROR, JobStatus.CANCELLED, JobStatus.QUARANTINED})


@dataclass(frozen=True, slots=True)
class _Told:
    """A history entry in words."""

    recorded: RecordedEntry
    text: str
    is_bad: bool


@dataclass(frozen=True, slots=True)
class _DrawnBar:
    """A bar from *left* with *width*, in percent of the time of the job."""

    bar: Bar
    left: float
    width: float


@routes.get("/jobs/<job_id>")
def show_job(job_id: str) -> Response:
    """Show a job"""
    return _job_page(job_id)


@routes.post("/jobs/<job_id>/signal")
def send_signal(job_id: str) -> Response:
    """Send the signal that a job waits for"""
    job, form = callers_job(job_id), request.form
    if job.wait is None or job.wait.token != form.get("wait"):
        raise ConflictError(f"the job no longer waits for this signal: it is {job.status}")
    try:
        signals.send(job, str(job.wait.details.get("signal")), data_of(job.wait.details.get("form", {}), form))
    except InvalidRequestError as error:
        return _job_page(job_id, fault=error)
    control.updated_view(job)
    return see_other("pages.show_job", job_id=job_id)


def _job_page(job_id: str, *, fault: InvalidRequestError | None = None) -> Response:
    store = services().store
    [found] = store.read_together(store.read_explained(checked_id(job_id), entries=_ENTRIES))
    if found is None:
        raise NotFoundError("job", job_id)
    job, entries, facts = found
    check_visible(job)
    waiting, sent = waiting_for(job), None if fault is None else request.form
    drawn = timeline(entries, now_ms=facts.now_ms, has_ended=job.status.is_final)
    return page(
        "job.html",
        status=HTTPStatus.OK if fault is None else HTTPStatus.UNPROCESSABLE_ENTITY,
        fault=fault,
        job=job,
        live=facts.live_state,
        reasons=explain(facts),
        waiting=waiting,
        fields=fields_of(waiting.form or {}, sent) if waiting is not None and waiting.kind == "signal" else (),
        left_ms=_left_ms(job, now_ms=facts.now_ms),
        history=[_Told(each, narrate(each.entry), has_failed(each.entry)) for each in entries],
        is_history_cut=len(entries) == _ENTRIES,
        timeline=drawn,
        rows=[(row, _bars(row, drawn.start_ms, drawn.end_ms)) for row in drawn.rows],
        values=_values(job),
        may_cancel=not job.status.is_final and not caller().is_read_only,
        may_retry=job.status in _RETRIED and not caller().is_read_only,
        places=list(dict.fromkeys(each.entry.state for each in entries if each.entry.event_type == "state_entered")),
        has_graph=is_user_name(job.blueprint)
        and job.blueprint in services().plans
        and not isinstance(job, UnreadableJob),
        is_task=not is_user_name(job.blueprint),
        has_files=services().files is not None,
        shows_files=True,
    )


def _left_ms(job: Job, *, now_ms: int) -> int | None:
    """Return the median of the remaining times of jobs like *job*; None without data, and if it does not run."""
    plan = services().plans.get(job.blueprint)
    if plan is None or job.status.is_final or job.status is JobStatus.QUARANTINED:
        return None
    traffic = services().store.traffic.of(plan, max_age_seconds=_FORECAST_SECONDS).traffic
    return traffic.left_for(str(job.current_state), max(now_ms - job.updated_ms, 0))


@routes.post("/jobs/<job_id>/cancel")
def cancel_job(job_id: str) -> Response:
    """Cancel a job"""
    job = callers_job(job_id)
    services().store.signal(job, "cancel", by=caller().name)
    control.updated_view(job)
    return see_other("pages.show_job", job_id=job_id)


@routes.post("/jobs/<job_id>/retry")
def retry_job(job_id: str) -> Response:
    """Resume a quarantined job, or run an ended one again as a new job"""
    job = callers_job(job_id)
    if job.status is JobStatus.QUARANTINED:
        services().store.signal(job, "retry", by=caller().name)
        control.updated_view(job)
        return see_other("pages.show_job", job_id=job_id)
    created = control.rerun(job, start=request.form.get("start") or FAILED_STATE)
    return see_other("pages.show_job", job_id=created.job_id)


@routes.post("/jobs/<job_id>/fork")
def fork_job(job_id: str) -> Response:
    """Start a new job in a state that a job entered"""
    changes = Field("set", "json").read(request.form) or {}
    if not isinstance(changes, dict):
        raise InvalidRequestError("the changes must be a JSON object")
    created = control.fork(callers_job(job_id), request.form.get("at", ""), changes)
    return see_other("pages.show_job", job_id=created.job_id)


def _bars(row: Row, start_ms: int, end_ms: int) -> list[_DrawnBar]:
    whole = max(end_ms - start_ms, 1)
    drawn = []
    for bar in row.bars:
        until = bar.end_ms if bar.end_ms is not None else end_ms
        left = 100 * (bar.start_ms - start_ms) / whole
        drawn.append(_DrawnBar(bar, round(left, 3), round(max(100 * (until - bar.start_ms) / whole, 0.4), 3)))
    return [replace(each, left=min(each.left, 99.6)) for each in drawn]


def _values(job: Job) -> Mapping[str, object]:
    """Return what the job was given, what it knows and what came out; large values by their references."""
    result = job.result if job.status.is_final and job.result != job.error else None
    found = {"Input": job.initial_data, "Data": job.state_history, "Result": result, "Error": job.error}
    return {title: value for title, value in found.items() if value not in (None, {})}
