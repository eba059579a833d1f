"""A job as it moves: its history and its progress as server-sent events, until it is over or the client goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from time import monotonic, sleep
from typing import Any

import orjson
from flask import Response, request

from avtomatika.core.job import Job, RecordedEntry
from avtomatika.core.standing import InHand
from avtomatika.schemas.api import EntrySchema
from avtomatika.schemas.api_requests import EventsQuerySchema
from avtomatika.store import Store

from ..routes import Routes
from ..site import site
from ..waiting import LONGEST_PAUSE_SECONDS, SHORTEST_PAUSE_SECONDS, place
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
    job = callers_job(job_id)
    with ExitStack() as stack:
        stack.enter_context(place(site().waits))
        following = _Following(site().store, job, after=_last_event_id(wanted["after"]))
        response = Response(following.events(), content_type="text/event-stream")
        response.call_on_close(stack.pop_all().close)
    response.headers["X-Accel-Buffering"] = "no"
    return response


class _Following:
    """Looks at *job* again and again; what happened up to *after* is known."""

    def __init__(self, store: Store, job: Job, *, after: int) -> None:
        self._store = store
        self._job = job
        self._after = after
        self._told: dict[str, int] = {}

    def events(self) -> Iterator[str]:
        """The text of the stream. It begins at once, so that the client knows that it is heard."""
        ends = monotonic() + _STREAM_SECONDS
        spoken, pause = monotonic(), SHORTEST_PAUSE_SECONDS
        yield "retry: 1000\n\n"
        while True:
            is_over = self._job.status.is_final
            text = "".join([*self._history(), *self._progress()])
            if text:
                spoken, pause = monotonic(), SHORTEST_PAUSE_SECONDS
                yield text
            if is_over or monotonic() > ends:
                return
            if monotonic() - spoken > _SILENCE_SECONDS:
                spoken = monotonic()
                yield ": still here\n\n"
            sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
            if not self._look():
                return

    def _look(self) -> bool:
        """See how the job stands now; False where it is gone."""
        if self._store.version(self._job.id) != self._job.version:
            job = self._store.load(self._job.id)
            if job is None:
                return False
            self._job = job
        return True

    def _history(self) -> Iterator[str]:
        more: int | None = self._after
        while more is not None:
            entries, more = self._store.history(self._job.id, after=self._after, limit=_PAGE)
            for entry in entries:
                self._after = entry.seq
                yield _entry(entry)

    def _progress(self) -> Iterator[str]:
        """What open tasks have told since the last look. It has no id: nobody resumes at it."""
        hands = self._store.standing(self._job).hands if self._job.tasks else {}
        for task_id, hand in hands.items():
            if hand.told_ms != self._told.get(task_id, 0):
                self._told[task_id] = hand.told_ms
                yield _event("progress", _of_hand(task_id, hand))


def _last_event_id(after: int) -> int:
    """Where a client goes on: by the header that browsers send when they come back, else as it asks."""
    last = request.headers.get("Last-Event-ID", "")
    return int(last) if last.isascii() and last.isdigit() and len(last) < 16 else after


def _entry(entry: RecordedEntry) -> str:
    return _event(entry.entry.event_type, EntrySchema().dump(entry), seq=entry.seq)


def _of_hand(task_id: str, hand: InHand) -> dict[str, Any]:
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
