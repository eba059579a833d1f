"""The approvals that jobs wait for, longest waiting first, and their decisions."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from flask import Response, request

from avtomatika.core.explain.waiting import WaitView, waiting_for
from avtomatika.core.job import Job, JobStatus
from avtomatika.errors import AvtomatikaError, ConflictError, ForbiddenError, InvalidRequestError, NotFoundError
from avtomatika.schemas.api_requests import LONGEST_COMMENT
from avtomatika.store import JobFilter, Reading, UnreadableJob

from ..api.approvals import job_to_decide
from ..api.jobs import callers_job, job_filter
from ..auth import caller
from ..problems import status_of
from ..services import services
from .input_form import Field, decision_data, fields_of
from .jobs import blueprint_names, given_filter, load_filter
from .rendering import page
from .routes import routes, see_other

_PAGE = 25


@routes.get("/approvals")
def show_approvals() -> Response:
    """Show the approvals that the client's jobs wait for"""
    return _approvals(decided=_decided(request.args.get("decided", "")))


@routes.post("/approvals")
def decide() -> Response:
    """Decide an approval"""
    try:
        job = job_to_decide(request.form.get("job", ""))
        record_decision(job, request.form.get("approval", ""), by=caller().name)
    except (ConflictError, ForbiddenError, InvalidRequestError, NotFoundError) as error:
        return _approvals(fault=error)
    return see_other("pages.show_approvals", decided=job.id)


def record_decision(job: Job, token: str, *, by: str) -> None:
    """Record the decision of *by*, as sent by a form, on the approval *token*. Raises InvalidRequestError."""
    form, comment = request.form, request.form.get("comment", "").strip()
    if len(comment) > LONGEST_COMMENT:
        raise InvalidRequestError(f"The comment has {len(comment)} characters; at most {LONGEST_COMMENT} are kept.")
    data = decision_data(services().store.approval(job, token), form)
    services().store.decide(job, form.get("decision", ""), by=by, comment=comment or None, data=data, token=token)


def _approvals(*, decided: str | None = None, fault: AvtomatikaError | None = None) -> Response:
    given = {name: value for name, value in given_filter(request.args).items() if name != "status"}
    loaded = {**load_filter({**given, "status": JobStatus.WAITING_FOR_HUMAN}), "limit": _PAGE}
    (asked, cursor), counts = services().store.read_together(*_readings(job_filter(loaded, oldest_first=True)))
    return page(
        "approvals.html",
        status=HTTPStatus.OK if fault is None else status_of(fault) or HTTPStatus.CONFLICT,
        asked=[(job, wait, _fields(job, wait, is_sent=fault is not None)) for job, wait in asked],
        total=counts.total,
        cursor=cursor,
        given=given,
        decided=decided,
        fault=fault,
        blueprints=blueprint_names(),
        has_files=services().files is not None,
        shows_files=True,
    )


def _fields(job: Job, wait: WaitView, *, is_sent: bool) -> Sequence[Field]:
    """Return the fields of the form of an approval; a form that was sent keeps what the person wrote."""
    sent = request.form if is_sent and request.form.get("job") == job.id else None
    return () if wait.form is None else fields_of(wait.form, sent)


def _readings(wanted: JobFilter) -> Sequence[Reading[Any]]:
    """Return the reading of the approvals of jobs that match, longest waiting first, and the one of their number."""
    return _read_asked(wanted), services().store.read_counts(wanted)


def _read_asked(wanted: JobFilter) -> Reading[tuple[list[tuple[Job, WaitView]], str | None]]:
    if "job" in request.args:
        listed, cursor = [callers_job(request.args["job"])], None
    else:
        listed, cursor = yield from services().store.read_list(wanted)
    waits = [(job, waiting_for(job)) for job in listed if not isinstance(job, UnreadableJob)]
    live = yield from services().store.read_live_states([job for job, _ in waits])
    asked = [
        (job, wait) for (job, wait), state in zip(waits, live, strict=True) if wait is not None and not state.decision
    ]
    return sorted(asked, key=lambda each: each[1].since_ms), cursor


def _decided(job_id: str) -> str | None:
    """Return the decision on a job of the client."""
    try:
        job = callers_job(job_id)
    except NotFoundError:
        return None
    decision = services().store.live_state(job).decision
    return decision or _recorded_decision(job)


def _recorded_decision(job: Job) -> str | None:
    approval = job.state_history.get("approval")
    if not isinstance(approval, dict):
        return None
    return f"{approval.get('decision')} by {approval.get('by')}"
