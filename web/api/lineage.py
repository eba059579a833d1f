"""Lineage of files: the job that created a file and the jobs that use it, among the client's jobs."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from avtomatika.core.job import Job
from avtomatika.errors import InvalidRequestError, NotFoundError
from avtomatika.files.location import Location
from avtomatika.files.object_keys import Producer, producer_of, uses_of
from avtomatika.schemas.answers import Lineage
from avtomatika.schemas.api_files import LineageQuerySchema
from avtomatika.store import JobFilter

from ..auth import caller
from ..routes import Routes
from ..services import services
from .jobs import callers_job, whole_history

routes = Routes("lineage", __name__, url_prefix="/api/v1/files", description="Origin and use of files")

#: Maximum number of jobs to search, newest first.
_MOST_JOBS = 10_000
_PAGE = 200


@routes.get("/lineage")
@routes.arguments(LineageQuerySchema, location="query")
@routes.response(200, Lineage)
def show_lineage(wanted: dict[str, Any]) -> dict[str, Any]:
    """Show which job created a file and which ones use it"""
    uri = wanted["uri"]
    location = Location.parse(uri)
    if location is None:
        message = "must be of the form s3://bucket/key"
        raise InvalidRequestError(f"uri {uri!r} {message}", fields={"uri": [message]})
    maker = producer_of(location) if services().job_files().keeps(location) else None
    made_by = None if maker is None else _origin(maker, uri)
    looked_at = list(islice(_jobs(), _MOST_JOBS + 1))
    uses = [
        {"job_id": job.id, "status": job.status, "where": where}
        for job in looked_at[:_MOST_JOBS]
        if (where := uses_of(job, uri)) and (maker is None or job.id != maker.job_id)
    ]
    return {"uri": uri, "made_by": made_by, "used_by": uses, "is_complete": len(looked_at) <= _MOST_JOBS}


def _origin(maker: Producer, uri: str) -> dict[str, Any]:
    """Return the creator of a file with its worker and state. Raises NotFoundError if it is a job of another client."""
    if maker.job_id is None:
        if maker.client != caller().name and not caller().is_operator:
            raise NotFoundError("file", uri)
        return {"kind": maker.kind, "client": maker.client}
    job = callers_job(maker.job_id)
    origin = {"kind": maker.kind, "job_id": job.id, "client": job.client}
    if maker.task_id is not None:
        origin |= {"task_id": maker.task_id, "attempt": maker.attempt} | _attempt_details(
            job.id, maker.task_id, maker.attempt
        )
    return origin


def _attempt_details(job_id: str, task_id: str, attempt: int | None) -> dict[str, Any]:
    """Return the state and the worker of an attempt from the history."""
    for entry in (recorded.entry for recorded in whole_history(job_id)):
        if (entry.task_id, entry.attempt) == (task_id, attempt) and entry.worker_id is not None:
            return {"state": entry.state, "worker_id": entry.worker_id}
    return {}


def _jobs() -> Iterator[Job]:
    """Iterate over the client's jobs, newest first."""
    owner, cursor = None if caller().is_operator else caller().name, None
    while True:
        jobs, cursor = services().store.list_jobs(JobFilter(client=owner, limit=_PAGE, cursor=cursor), with_data=True)
        yield from jobs
        if cursor is None:
            return
