"""Deciding the approvals that jobs wait for."""

from typing import Any

from flask import url_for

from avtomatika.core.explain.waiting import waiting_for
from avtomatika.core.job import Job, WaitRecord
from avtomatika.core.machine.waits import deciders, may_decide
from avtomatika.errors import ForbiddenError, InvalidRequestError
from avtomatika.schemas import answers
from avtomatika.schemas.api_requests import ApprovalSchema, LinkRequestSchema
from avtomatika.schemas.job_view import JobView

from ..approval_links import ApprovalLink
from ..auth import caller
from ..routes import Routes
from ..services import services
from .control import updated_view
from .jobs import callers_job

routes = Routes("approvals", __name__, url_prefix="/api/v1/jobs", description="Decide approvals")


def job_to_decide(job_id: str) -> Job:
    """Return a job whose approval the caller may decide. Raises ForbiddenError if it is for others."""
    job = callers_job(job_id, is_decided=True)
    if (error := forbidden(job)) is not None:
        raise error
    return job


def forbidden(job: Job) -> ForbiddenError | None:
    """Return the error if the approval of *job* names other clients than the caller."""
    details = job.wait.details if job.wait is not None else {}
    who, may = deciders(details), may_decide(details, caller().name, caller().roles)
    return ForbiddenError(f"only {who} may decide this approval") if who and not may else None


@routes.post("/<job_id>/approve")
@routes.arguments(ApprovalSchema)
@routes.response(200, answers.Job)
def approve_job(made: dict[str, Any], job_id: str) -> JobView:
    """Decide the approval that a job waits for; the first decision counts"""
    job = job_to_decide(job_id)
    services().store.decide(job, made["decision"], by=caller().name, comment=made["comment"], data=made["data"])
    return updated_view(job)


@routes.post("/<job_id>/approval-link")
@routes.arguments(LinkRequestSchema)
@routes.response(200, answers.ApprovalLink)
def make_link(wanted: dict[str, Any], job_id: str) -> dict[str, Any]:
    """Create a link with which its holder can decide the approval without a token"""
    job = callers_job(job_id, is_decided=True)
    asked, waiting = services().store.approval(job), waiting_for(job)
    expires_ms = services().store.clock.now_ms() + round(wanted["expires_in"] * 1000)
    if waiting is not None and waiting.until_ms is not None:
        expires_ms = min(expires_ms, waiting.until_ms)
    link = ApprovalLink(asked.token, expires_ms, _recipient(asked, wanted["recipient"]))
    url = url_for("approval-page.show_question", link=link.sealed(services().store.keyring.secret), _external=True)
    return {"url": url, "expires_ms": expires_ms}


def _recipient(asked: WaitRecord, name: str | None) -> str:
    """Return the person that a link is for: one of those who may decide, by default the caller."""
    who, name = deciders(asked.details), name or (caller().name if deciders(asked.details) else "")
    account = services().clients.get(name)
    if who and not may_decide(asked.details, name, () if account is None else account.roles):
        raise InvalidRequestError(f"the link must be for {who}", fields={"recipient": [f"must be {who}"]})
    return name
