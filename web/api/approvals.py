"""Deciding the approvals that jobs wait for."""

from typing import Any

from flask import url_for

from avtomatika.core.explain.waiting import waiting_for
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


@routes.post("/<job_id>/approve")
@routes.arguments(ApprovalSchema)
@routes.response(200, answers.Job)
def approve_job(made: dict[str, Any], job_id: str) -> JobView:
    """Decide the approval that a job waits for; the first decision counts"""
    job = callers_job(job_id)
    services().store.decide(job, made["decision"], by=caller().name, comment=made["comment"], data=made["data"])
    return updated_view(job)


@routes.post("/<job_id>/approval-link")
@routes.arguments(LinkRequestSchema)
@routes.response(200, answers.ApprovalLink)
def make_link(wanted: dict[str, Any], job_id: str) -> dict[str, Any]:
    """Create a link with which its holder can decide the approval without a token"""
    job = callers_job(job_id)
    asked, waiting = services().store.approval(job), waiting_for(job)
    expires_ms = services().store.clock.now_ms() + round(wanted["expires_in"] * 1000)
    if waiting is not None and waiting.until_ms is not None:
        expires_ms = min(expires_ms, waiting.until_ms)
    link = ApprovalLink(asked.token, expires_ms)
    url = url_for("approval-page.show_question", link=link.sealed(services().store.keyring.secret), _external=True)
    return {"url": url, "expires_ms": expires_ms}
