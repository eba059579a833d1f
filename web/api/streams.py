"""The stream of a job: what its skills write and log, as server-sent events or page by page."""

from typing import Any

from flask import Response, jsonify

from avtomatika.core.job import Job
from avtomatika.schemas import answers
from avtomatika.schemas.api_requests import StreamQuerySchema
from avtomatika.schemas.responses import dump
from avtomatika.store import Store, StreamEntry, StreamPage
from avtomatika.store.job_watcher import Follower

from ..event_stream import EventStream, event_text, last_event_id, stream_response
from ..routes import Routes
from ..services import services
from .jobs import callers_job, hold

routes = Routes("streams", __name__, url_prefix="/api/v1/jobs", description="Follow jobs")

#: The last chunks of a task may arrive after the end of its job: for this time after it, the stream stays open, ...
_SETTLE_MS = 300
#: ... and for this time while a run of a task has not reported its end.
_MAX_SETTLE_MS = 3_000
_PAGE = 1_000


@routes.get("/<job_id>/stream")
@routes.arguments(StreamQuerySchema, location="query")
@routes.response(200, answers.StreamPage)
def read_stream(wanted: dict[str, Any], job_id: str) -> Response:
    """Read what the skills of a job write and log: as server-sent events, or with `limit` or `wait` one page of JSON"""
    if wanted["limit"] is None and wanted["wait"] is None:
        return stream_entries(job_id, after=wanted["after"])
    job = callers_job(job_id)
    after, limit = wanted["after"], wanted["limit"] or _PAGE
    page = services().store.streams.page(job_id, after=after, limit=limit)
    if wanted["wait"] and not page.entries and not _has_ended(services().store, job, page):
        hold(job, _SETTLE_MS / 1000 if job.status.is_final else wanted["wait"], streamed_after=after)
        job = callers_job(job_id)
        page = services().store.streams.page(job_id, after=after, limit=limit)
    has_ended = _has_ended(services().store, job, page)
    entries = [*page.entries, _end(job, page)] if has_ended else page.entries
    answer = {"job_id": job_id, "entries": entries, "next": page.next, "has_ended": has_ended}
    return jsonify(dump(answers.StreamPage, answer))


def stream_entries(job_id: str, *, after: int) -> Response:
    """Stream the entries after the one with the id *after*."""
    follower = Follower(callers_job(job_id), after=last_event_id(after), reads_stream=True)
    return stream_response(_Following(services().store, follower))


class _Following(EventStream):
    """The stream of the job of *follower*."""

    def _read(self, lines: list[str]) -> bool:
        follower = self._follower
        while True:
            page = self._store.streams.page(follower.job.id, after=follower.after, limit=_PAGE)
            lines += [_event(entry) for entry in page.entries]
            follower.after = page.next
            if page.is_last:
                break
        if _has_ended(self._store, follower.job, page):
            lines.append(_event(_end(follower.job, page)))
            return True
        self._reread_seconds = _SETTLE_MS / 1000 if follower.job.status.is_final else None
        return False


def _has_ended(store: Store, job: Job, page: StreamPage) -> bool:
    """Return whether no entries follow those of *page*."""
    if not job.status.is_final or not page.is_last:
        return False
    age_ms = store.clock.now_ms() - job.updated_ms
    return age_ms > (_MAX_SETTLE_MS if page.is_open else _SETTLE_MS)


def _end(job: Job, page: StreamPage) -> StreamEntry:
    return StreamEntry(page.next, None, None, "end", job.status, at_ms=job.updated_ms)


def _event(entry: StreamEntry) -> str:
    return event_text(entry.kind, dump(answers.StreamEntry, entry), seq=entry.seq)
