"""Server-sent event streams about jobs: each is held until its job ends, the client disconnects, or its time is
over."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack
from time import monotonic
from typing import Any

import orjson
from flask import Response, request

from avtomatika.errors import UnavailableError
from avtomatika.store import Store
from avtomatika.store.job_watcher import Follower

from .auth import caller
from .connections import connection_of
from .services import services

#: Interval of keep-alive comments: routers on the way close connections that are idle for 30 s.
_KEEPALIVE_SECONDS = 15.0
#: A stream ends after this time, and clients reconnect with the last id that they received.
_STREAM_SECONDS = 600.0
#: Interval between reads while the server is unavailable.
_RETRY_SECONDS = 1.0


class EventStream(ABC):
    """Reads new events of the job of *follower* repeatedly."""

    #: Seconds until the next read without a change of the job; None to wait for a change.
    _reread_seconds: float | None = None

    def __init__(self, store: Store, follower: Follower) -> None:
        self._store = store
        self._follower = follower
        self._is_stale = False

    @property
    def follower(self) -> Follower:
        return self._follower

    @abstractmethod
    def _read(self, lines: list[str]) -> bool:
        """Append new events to *lines*, and return whether they are the last ones.

        May raise UnavailableError; *lines* are valid even then, and the next call continues after them.
        """

    def events(self) -> Iterator[str]:
        """Yield the text of the stream; the first line comes at once, so that the client knows it is connected."""
        follower, ends, sent_at = self._follower, monotonic() + _STREAM_SECONDS, monotonic()
        yield "retry: 1000\n\n"
        is_over = False
        while not is_over and not follower.has_ended and monotonic() < ends:
            follower.mark_read()
            lines: list[str] = []
            try:
                is_over = self._read_current(lines)
                next_read = ends if self._reread_seconds is None else monotonic() + self._reread_seconds
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

    def _read_current(self, lines: list[str]) -> bool:
        if self._is_stale:
            job = self._store.load(self._follower.job.id)
            if job is None:  # it was deleted
                return True
            self._follower.job = job
        self._is_stale = True
        return self._read(lines)


def stream_response(stream: EventStream) -> Response:
    """Return the response that holds *stream*."""
    follower = stream.follower
    with ExitStack() as stack:
        stack.enter_context(
            services().held.hold_slot(caller().name, connection_of(request), on_disconnect=follower.end)
        )
        stack.enter_context(services().watcher.following(follower))
        response = Response(stream.events(), content_type="text/event-stream")
        response.call_on_close(stack.pop_all().close)
    response.headers["X-Accel-Buffering"] = "no"
    return response


def last_event_id(after: int) -> int:
    """Return where a client resumes: the header that browsers send when they reconnect, or else *after*."""
    last = request.headers.get("Last-Event-ID", "")
    return int(last) if last.isascii() and last.isdigit() and len(last) < 16 else after


def event_text(name: str, data: Any, *, seq: int | None = None) -> str:
    """Format an event. JSON has no line breaks, so it is one line of data."""
    number = "" if seq is None else f"id: {seq}\n"
    return f"{number}event: {name}\ndata: {orjson.dumps(data).decode()}\n\n"
