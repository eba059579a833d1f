"""Answering what a job asks of people."""

from __future__ import annotations

from typing import Any

from avtomatika.schemas.api import JobSchema, JobView
from avtomatika.schemas.api_approvals import ApprovalSchema

from ..access import caller
from ..routes import Routes
from ..site import site
from .control import as_it_is_then
from .jobs import callers_job

routes = Routes("approvals", __name__, url_prefix="/api/v1/jobs", description="Decide what jobs ask")


@routes.post("/<job_id>/approve")
@routes.arguments(ApprovalSchema)
@routes.response(200, JobSchema)
def approve_job(made: dict[str, Any], job_id: str) -> JobView:
    """Decide what a job asks; the first decision counts"""
    job = callers_job(job_id)
    site().store.decide(job, made["decision"], by=caller().name, comment=made["comment"])
    return as_it_is_then(job)
