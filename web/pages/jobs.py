"""The list of jobs, with filters."""

import re

from flask import Response, request

from avtomatika.core.job import JobStatus
from avtomatika.core.names import is_user_name
from avtomatika.errors import InvalidRequestError
from avtomatika.store import JobFilter, UnreadableJob

from ..auth import caller
from ..services import services
from .rendering import page
from .routes import routes, see_other

_PAGE = 50
#: What separates labels: spaces before the name of the next one.
_LABEL_SPACE = re.compile(r"\s+(?=[\w-]+=)")
#: Statuses in the order of the page: what a person has to look at first.
STATUSES = (
    JobStatus.QUARANTINED,
    JobStatus.ERROR,
    JobStatus.FAILED,
    JobStatus.WAITING_FOR_HUMAN,
    JobStatus.WAITING_FOR_WORKER,
    JobStatus.WAITING_FOR_PARALLEL,
    JobStatus.WAITING_FOR_CHILD,
    JobStatus.WAITING_FOR_TIMER,
    JobStatus.PENDING,
    JobStatus.RUNNING,
    JobStatus.FINISHED,
    JobStatus.CANCELLED,
)


@routes.get("/jobs")
def show_jobs() -> Response:
    """List jobs, newest first"""
    given = {name: value.strip() for name, value in request.args.items() if value.strip()}
    if job_id := given.get("id"):
        return see_other("pages.show_job", job_id=job_id)
    wanted = JobFilter(
        client=given.get("client") if caller().is_operator else caller().name,
        status=given.get("status"),
        blueprint=given.get("blueprint"),
        skill=given.get("skill"),
        labels=_labels(given.get("label", "")),
        limit=_PAGE,
        cursor=given.get("cursor"),
    )
    jobs, cursor = services().store.list_jobs(wanted)
    return page(
        "jobs.html",
        jobs=jobs,
        cursor=cursor,
        given=given,
        statuses=STATUSES,
        blueprints=sorted(filter(is_user_name, services().plans)),
        unreadable={job.id for job in jobs if isinstance(job, UnreadableJob)},
    )


def _labels(text: str) -> tuple[tuple[str, str], ...]:
    """Read ``name=value name=value``; values may contain spaces."""
    labels = []
    for part in filter(None, _LABEL_SPACE.split(text)):
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise InvalidRequestError(f"the label {part!r} must be name=value")
        labels.append((name, value))
    return tuple(labels)
