"""The events of a job, its history and progress, as a server-sent event stream until it ends or the client
disconnects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from time import monotonic
from typing import Any

import orjson
from flask import Response, request

from avtomatika.core.explain.live_state import TaskProgress
from avtomatika.core.job import RecordedEntry
from avtomatika.errors import UnavailableError
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

#: Interval of keep-alive comments: routers on the way close connections that are idle for 30 s.
_KEEPALIVE_SECONDS = 15.0
#: A stream ends after this time, and clients reconnect with the last id that they received.
_STREAM_SECONDS = 600.0
#: Interval between reads while the server is unavailable.
_RETRY_SECONDS = 1.0
_PAGE = 200


@routes.get("/<job_id>/events")
@routes.arguments(EventsQuerySchema, location="query")
@routes.response(200, {"type": "string"}, content_type="text/event-stream")
def follow_job(wanted: dict[str, Any], job_id: str) -> Response:
    """Follow a job as server-sent events"""
    follower = Follower(callers_job(job_id), after=_last_event_id(wanted["after"]), reads_history=True)
    with ExitStack() as stack:
        stack.enter_context(
            services().held.hold_slot(caller().name, connection_of(request), on_disconnect=follower.end)
        )
        stack.enter_context(services().watcher.following(follower))
        response = Response(_Following(services().store, follower).events(), content_type="text/event-stream")
        response.call_on_close(stack.pop_all().close)
    response.headers["X-Accel-Buffering"] = "no"
    return response


class _Following:
    """Reads new events of the job of *follower* repeatedly."""

    def __init__(self, store: Store, follower: Follower) -> None:
        self._store = store
        self._follower = follower
        self._reported_ms: dict[str, int] = {}
        self._is_stale = False

    def events(self) -> Iterator[str]:
        """Yield the text of the stream; the first line comes at once, so that the client knows it is connected."""
        follower, ends, sent_at = self._follower, monotonic() + _STREAM_SECONDS, monotonic()
        yield "retry: 1000\n\n"
        is_over = False
        while not is_over and not follower.has_ended and monotonic() < ends:
            follower.mark_read()
            lines: list[str] = []
            try:
                is_over = self._read(lines)
                next_read = ends
            except (
                UnavailableError
            ):  # logged by the watcher; the client would not reconnect to a server that answers 503
                next_read = monotonic() + _RETRY_SECONDS
            if lines:
                sent_at = monotonic()
                yield "".join(lines)
            while not is_over and not follower.wait(min(sent_at + _KEEPALIVE_SECONDS, next_read) - monotonic()):
                if monotonic() >= next_read:
                    break
                sent_at = monotonic()
                yield ": still here\n\n"

    def _read(self, lines: list[str]) -> bool:
        """Append new events to *lines*, and return whether they are the last ones.

        Raises UnavailableError; *lines* are valid even then, and the next call continues after them.
        """
        follower = self._follower
        if self._is_stale:
            job = self._store.load(follower.job.id)
            if job is None:  # it was deleted
                return True
            follower.job = job
        self._is_stale = True
        for line in self._history():
            lines.append(line)
        for line in self._progress():
            lines.append(line)
        return follower.job.status.is_final

    def _history(self) -> Iterator[str]:
        more: int | None = 0
        while more is not None:
            entries, more = self._store.history(self._follower.job.id, after=self._follower.after, limit=_PAGE)
            for entry in entries:
                self._follower.after = entry.seq
                yield _entry(entry)

    def _progress(self) -> Iterator[str]:
        """Yield the progress that open tasks reported since the last read, without an id: a client cannot resume
        there."""
        job = self._follower.job
        in_flight = self._store.live_state(job).in_flight if job.tasks else {}
        for task_id, task in in_flight.items():
            if task.reported_ms != self._reported_ms.get(task_id, 0):
                self._reported_ms[task_id] = task.reported_ms
                yield _event("progress", _progress_data(task_id, task))


def _last_event_id(after: int) -> int:
    """Return where a client resumes: the header that browsers send when they reconnect, or else *after*."""
    last = request.headers.get("Last-Event-ID", "")
    return int(last) if last.isascii() and last.isdigit() and len(last) < 16 else after


def _entry(entry: RecordedEntry) -> str:
    return _event(entry.entry.event_type, EntrySchema().dump(entry), seq=entry.seq)


def _progress_data(task_id: str, task: TaskProgress) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "worker_id": task.worker_id,
        "progress": task.progress,
        "progress_message": task.message,
    }


def _event(name: str, data: Any, *, seq: int | None = None) -> str:
    """Format an event. JSON has no line breaks, so it is one line of data."""
    number = "" if seq is None else f"id: {seq}\n"
    return f"{number}event: {name}\ndata: {orjson.dumps(data).decode()}\n\n"
