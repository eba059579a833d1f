"""The approvals that jobs wait for, and their decisions."""

from http import HTTPStatus

from flask import Response, request

from avtomatika.core.explain.waiting import waiting_for
from avtomatika.core.job import Job, JobStatus
from avtomatika.errors import AvtomatikaError, ConflictError, InvalidRequestError, NotFoundError
from avtomatika.schemas.api_requests import LONGEST_COMMENT
from avtomatika.store import JobFilter, UnreadableJob

from ..api.jobs import callers_job
from ..auth import caller
from ..services import services
from .rendering import page
from .routes import routes, see_other

_PAGE = 50


@routes.get("/approvals")
def show_approvals() -> Response:
    """Show the approvals that the client's jobs wait for"""
    return _approvals(decided=_decided(request.args.get("decided", "")))


@routes.post("/approvals")
def decide() -> Response:
    """Decide an approval"""
    form = request.form
    comment = form.get("comment", "").strip()
    try:
        if len(comment) > LONGEST_COMMENT:
            raise InvalidRequestError(f"the comment has {len(comment)} characters; at most {LONGEST_COMMENT} are kept")
        job = callers_job(form.get("job", ""))
        decision, token = form.get("decision", ""), form.get("approval", "")
        services().store.decide(job, decision, by=caller().name, comment=comment or None, token=token)
    except (ConflictError, InvalidRequestError, NotFoundError) as error:
        return _approvals(fault=error)
    return see_other("pages.show_approvals", decided=job.id)


def _approvals(*, decided: str | None = None, fault: AvtomatikaError | None = None) -> Response:
    owner = None if caller().is_operator else caller().name
    wanted = JobFilter(
        client=owner,
        status=JobStatus.WAITING_FOR_HUMAN,
        limit=_PAGE,
        cursor=request.args.get("cursor"),
    )
    listed, cursor = services().store.list_jobs(wanted)
    jobs = [job for job in listed if not isinstance(job, UnreadableJob)]
    live_states = services().store.live_states(jobs)
    open_jobs = [job for job, live_state in zip(jobs, live_states, strict=True) if live_state.decision is None]
    status = HTTPStatus.CONFLICT if fault is not None else HTTPStatus.OK
    asked = [(job, waiting) for job in open_jobs if (waiting := waiting_for(job)) is not None]
    return page("approvals.html", status=status, asked=asked, cursor=cursor, decided=decided, fault=fault)


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
