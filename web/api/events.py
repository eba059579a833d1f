"""The events of a job, its history and progress, as a server-sent event stream until it ends or the client
disconnects."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

from flask import Response

from avtomatika.schemas.answers import HistoryEntry
from avtomatika.schemas.api_requests import EventsQuerySchema
from avtomatika.schemas.responses import dump
from avtomatika.store import Store
from avtomatika.store.job_watcher import Follower

from ..event_stream import EventStream, event_text, last_event_id, stream_response
from ..routes import Routes
from ..services import services
from .jobs import callers_job

routes = Routes("events", __name__, url_prefix="/api/v1/jobs", description="Follow jobs")

_PAGE = 200


@routes.get("/<job_id>/events")
@routes.arguments(EventsQuerySchema, location="query")
@routes.response(200, {"description": "server-sent events"}, content_type="text/event-stream")
def follow_job(wanted: dict[str, Any], job_id: str) -> Response:
    """Follow a job as server-sent events"""
    return stream_events(job_id, after=wanted["after"])


def stream_events(job_id: str, *, after: int) -> Response:
    """Stream the history of a job after entry *after*, and its progress."""
    follower = Follower(callers_job(job_id), after=last_event_id(after), reads_history=True)
    return stream_response(_Following(services().store, follower))


class _Following(EventStream):
    """The history and the progress of the job of *follower*."""

    def __init__(self, store: Store, follower: Follower) -> None:
        super().__init__(store, follower)
        self._reported_ms: dict[str, int] = {}

    def _read(self, lines: list[str]) -> bool:
        for line in chain(self._history(), self._progress()):
            lines.append(line)
        return self._follower.job.status.is_final

    def _history(self) -> Iterator[str]:
        more: int | None = 0
        while more is not None:
            entries, more = self._store.history(self._follower.job.id, after=self._follower.after, limit=_PAGE)
            for entry in entries:
                self._follower.after = entry.seq
                yield event_text(entry.entry.event_type, dump(HistoryEntry, entry), seq=entry.seq)

    def _progress(self) -> Iterator[str]:
        """Yield the progress that open tasks reported since the last read, without an id: a client cannot resume
        there."""
        job = self._follower.job
        in_flight = self._store.live_state(job).in_flight if job.tasks else {}
        for task_id, task in in_flight.items():
            if task.reported_ms != self._reported_ms.get(task_id, 0):
                self._reported_ms[task_id] = task.reported_ms
                told = {"progress": task.progress, "progress_message": task.message}
                yield event_text("progress", {"task_id": task_id, "worker_id": task.worker_id, **told})
