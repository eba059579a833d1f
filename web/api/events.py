"""A job as it moves: its history and its progress as server-sent events, until it is over or the client goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from time import monotonic
from typing import Any

import orjson
from flask import Response, request

from avtomatika.core.explain.live_state import TaskProgress
from avtomatika.core.job import RecordedEntry
from avtomatika.schemas.api import EntrySchema
from avtomatika.schemas.api_requests import EventsQuerySchema
from avtomatika.store import Store

from ..auth import caller
from ..connections import connection_of
from ..job_watcher import Follower
from ..routes import Routes
from ..services import services
from .jobs import callers_job

routes = Routes("events", __name__, url_prefix="/api/v1/jobs", description="Follow jobs")

#: So long nothing may be sent: routers on the way cut off what is silent for 30 s.
_SILENCE_SECONDS = 15.0
#: A stream ends after a while, and clients come back with the last id that they saw.
_STREAM_SECONDS = 600.0
_PAGE = 200


@routes.get("/<job_id>/events")
@routes.arguments(EventsQuerySchema, location="query")
@routes.response(200, {"type": "string"}, content_type="text/event-stream")
def follow_job(wanted: dict[str, Any], job_id: str) -> Response:
    """Follow a job as server-sent events"""
    follower = Follower(callers_job(job_id), after=_last_event_id(wanted["after"]), reads_history=True)
    with ExitStack() as stack:
        stack.enter_context(services().held.place(caller().name, connection_of(request), on_left=follower.end))
        stack.enter_context(services().watcher.following(follower))
        response = Response(_Following(services().store, follower).events(), content_type="text/event-stream")
        response.call_on_close(stack.pop_all().close)
    response.headers["X-Accel-Buffering"] = "no"
    return response


class _Following:
    """Reads what is new of the job of *follower*, again and again."""

    def __init__(self, store: Store, follower: Follower) -> None:
        self._store = store
        self._follower = follower
        self._told: dict[str, int] = {}

    def events(self) -> Iterator[str]:
        """The text of the stream. It begins at once, so that the client knows that it is heard."""
        follower, ends, spoken = self._follower, monotonic() + _STREAM_SECONDS, monotonic()
        yield "retry: 1000\n\n"
        while True:
            follower.begin_reading()
            is_over = follower.job.status.is_final
            text = "".join([*self._history(), *self._progress()])
            if text:
                spoken = monotonic()
                yield text
            while not is_over and not follower.wait(min(spoken + _SILENCE_SECONDS, ends) - monotonic()):
                if monotonic() >= ends:
                    return
                spoken = monotonic()
                yield ": still here\n\n"
            if is_over or follower.has_ended or monotonic() >= ends or not self._reload():
                return

    def _reload(self) -> bool:
        """Read the job again; False where it is gone."""
        job = self._store.load(self._follower.job.id)
        if job is not None:
            self._follower.job = job
        return job is not None

    def _history(self) -> Iterator[str]:
        more: int | None = 0
        while more is not None:
            entries, more = self._store.history(self._follower.job.id, after=self._follower.after, limit=_PAGE)
            for entry in entries:
                self._follower.after = entry.seq
                yield _entry(entry)

    def _progress(self) -> Iterator[str]:
        """What open tasks have told since the last look. It has no id: nobody resumes at it."""
        job = self._follower.job
        in_flight = self._store.live_state(job).in_flight if job.tasks else {}
        for task_id, hand in in_flight.items():
            if hand.reported_ms != self._told.get(task_id, 0):
                self._told[task_id] = hand.reported_ms
                yield _event("progress", _of_hand(task_id, hand))


def _last_event_id(after: int) -> int:
    """Where a client goes on: by the header that browsers send when they come back, else as it asks."""
    last = request.headers.get("Last-Event-ID", "")
    return int(last) if last.isascii() and last.isdigit() and len(last) < 16 else after


def _entry(entry: RecordedEntry) -> str:
    return _event(entry.entry.event_type, EntrySchema().dump(entry), seq=entry.seq)


def _of_hand(task_id: str, hand: TaskProgress) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "worker_id": hand.worker_id,
        "progress": hand.progress,
        "progress_message": hand.message,
    }


def _event(name: str, data: Any, *, seq: int | None = None) -> str:
    """JSON has no line break in it, so it is one line of data."""
    number = "" if seq is None else f"id: {seq}\n"
    return f"{number}event: {name}\ndata: {orjson.dumps(data).decode()}\n\n"
