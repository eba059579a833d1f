"""The overview: what runs, what waits and what is wrong."""

from flask import Response

from avtomatika.core.job import JobStatus
from avtomatika.store import JobFilter

from ..auth import caller
from ..services import services
from .jobs import STATUSES
from .rendering import page
from .routes import routes

_RECENT = 10


@routes.get("/")
def show_overview() -> Response:
    """Show what runs, what waits and what is wrong"""
    owner = None if caller().is_operator else caller().name
    recent, _ = services().store.list_jobs(JobFilter(client=owner, limit=_RECENT))
    failed, _ = services().store.list_jobs(JobFilter(client=owner, status=JobStatus.FAILED, limit=_RECENT))
    counts = {status: services().store.count(status) for status in STATUSES} if caller().is_operator else {}
    return page("overview.html", recent=recent, failed=failed, counts=counts)
