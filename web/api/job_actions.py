"""Actions on many jobs: those with given ids, or all that match a filter, a limited number with each request."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from avtomatika.core.job import Job, JobStatus
from avtomatika.errors import (
    AvtomatikaError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    UnreadableRecordError,
)
from avtomatika.schemas.answers import ActionResult
from avtomatika.schemas.api_job_lists import APPLICABLE, MOST_JOBS, ActionRequestSchema
from avtomatika.store import JobFilter, UnreadableJob

from ..auth import caller
from ..routes import Routes
from ..services import services
from .approvals import forbidden
from .control import rerun_each
from .jobs import is_visible, job_filter

routes = Routes("job-actions", __name__, url_prefix="/api/v1/jobs", description="Act on many jobs")

#: Jobs that are loaded at once, with their data.
_AT_ONCE = 100
_MOST_REFUSALS = 20


@routes.post("/actions")
@routes.arguments(ActionRequestSchema)
@routes.response(200, ActionResult)
def act_on_jobs(wanted: dict[str, Any]) -> dict[str, Any]:
    """Cancel, retry, approve or reject many jobs"""
    return act(wanted)


def act(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Act on a part of the jobs; *wanted* and the result are as in ActionRequestSchema and ActionResult."""
    statuses, dry_run = APPLICABLE[wanted["action"]], wanted["dry_run"]
    filtered = None if wanted["filter"] is None else _filter(wanted, statuses)
    if filtered is not None and dry_run:
        found = services().store.count_by_blueprint(filtered)
        return _result(found.counts, {}, is_exact=found.is_exact)
    blueprints, refused, done = Counter[str](), dict[str, AvtomatikaError](), 0
    for jobs, following in _parts(wanted["ids"], filtered):
        cursor = following
        errors = {job_id: error for job_id, job in jobs.items() if (error := _obstacle(job_id, job, statuses))}
        ready = [job for job_id, job in jobs.items() if job is not None and job_id not in errors]
        blueprints.update(job.blueprint for job in ready)
        if ready and not dry_run:
            failures = _act(ready, wanted)
            done += len(ready) - len(failures)
            errors |= failures
        refused |= errors
    return _result(blueprints, refused, done=done, cursor=cursor)


def _filter(wanted: Mapping[str, Any], statuses: Sequence[str]) -> JobFilter:
    """Return the filter for the jobs that the action applies to. Raises InvalidRequestError if it excludes all."""
    filtered = job_filter(wanted["filter"], cursor=wanted["cursor"], limit=_AT_ONCE)
    both = tuple(status for status in statuses if status in (filtered.statuses or statuses))
    if not both:
        message = f"{wanted['action']} applies to jobs that are {', '.join(statuses)}"
        raise InvalidRequestError(message, fields={"filter": {"status": [message]}})
    return replace(filtered, status=both)


def _parts(ids: Sequence[str] | None, filtered: JobFilter | None) -> Iterator[tuple[dict[str, Job | None], str | None]]:
    """Yield the jobs of one request, some at once, each time with the cursor of the next request."""
    store = services().store
    if filtered is None:
        for first in range(0, len(ids or ()), _AT_ONCE):
            some = (ids or ())[first : first + _AT_ONCE]
            yield dict(zip(some, store.load_many(some), strict=True)), None
        return
    for _ in range(MOST_JOBS // _AT_ONCE):
        jobs, cursor = store.list_jobs(filtered, with_data=True)
        yield {job.id: job for job in jobs}, cursor
        if cursor is None:
            return
        filtered = replace(filtered, cursor=cursor)


def _obstacle(job_id: str, job: Job | None, statuses: Sequence[str]) -> AvtomatikaError | None:
    """Return the reason why the action does not apply to a job."""
    is_decided = statuses == APPLICABLE["approve"]
    if job is None or not is_visible(job, is_decided=is_decided):
        return NotFoundError("job", job_id)
    if isinstance(job, UnreadableJob):
        return UnreadableRecordError(job_id, job.reason)
    if job.status not in statuses:
        return ConflictError(f"the job is {job.status}")
    return forbidden(job) if is_decided else None


def _act(jobs: Sequence[Job], wanted: Mapping[str, Any]) -> dict[str, AvtomatikaError]:
    """Apply the action in a few round trips; return the errors of the jobs that refused it."""
    store, by, action = services().store, caller().name, wanted["action"]
    if action == "cancel":
        return _errors(jobs, store.signal_each(jobs, "cancel", by=by))
    if action in ("approve", "reject"):
        decision = "approved" if action == "approve" else "rejected"
        return _errors(jobs, store.decide_each(jobs, decision, by=by, comment=wanted["comment"]))
    paused = [job for job in jobs if job.status is JobStatus.QUARANTINED]
    ended = [job for job in jobs if job.status is not JobStatus.QUARANTINED]
    resumed = store.signal_each(paused, "retry", by=by)
    reruns = rerun_each(ended, start=wanted["start"], once=True)
    return _errors(paused, resumed) | _errors(ended, reruns)


def _errors(jobs: Sequence[Job], results: Sequence[object]) -> dict[str, AvtomatikaError]:
    pairs = zip(jobs, results, strict=True)
    return {job.id: result for job, result in pairs if isinstance(result, AvtomatikaError)}


def _result(
    blueprints: Mapping[str, int],
    refused: Mapping[str, AvtomatikaError],
    *,
    done: int = 0,
    cursor: str | None = None,
    is_exact: bool = True,
) -> dict[str, Any]:
    shown = islice(refused.items(), _MOST_REFUSALS)
    return {
        "matched": sum(blueprints.values()),
        "blueprints": blueprints,
        "is_exact": is_exact,
        "done": done,
        "refused": len(refused),
        "refusals": [{"job_id": job_id, "code": error.code, "reason": str(error)} for job_id, error in shown],
        "next": cursor,
    }
