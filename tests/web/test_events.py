"""Server-sent events of a job."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from avtomatika.core.blueprint.action_types import DispatchTask, End, GoTo
from avtomatika.core.job import Job
from avtomatika.schemas.wire import Progress
from avtomatika.store import Store
from avtomatika.tokens import Clients
from avtomatika.web.app import create_app
from avtomatika.web.long_poll import HeldRequests

from .conftest import PLANS, created_id, problem

Move = Callable[..., Job]
TO_ENCODE = (
    GoTo("encode"),
    DispatchTask("encode", {"n": 1}, transitions={"success": "publish", "failure": "failed"}),
)
TO_THE_END = (GoTo("publish"), End({"url": "/out"}))


class Stream:
    """Return the events of a stream."""

    def __init__(
        self, client: FlaskClient, job_id: str, query: str = "", *, path: str = "events", **headers: str
    ) -> None:
        self.response = client.get(f"/api/v1/jobs/{job_id}/{path}{query}", headers=headers)
        assert self.response.status_code == 200, self.response.text
        self._events = self._parse(self.response.response)

    def next(self) -> dict[str, Any]:
        """``id``, ``event`` and ``data`` of the next one."""
        return next(self._events)

    def rest(self) -> list[dict[str, Any]]:
        return list(self._events)

    def close(self) -> None:
        self.response.close()

    @staticmethod
    def _parse(chunks: Any) -> Iterator[dict[str, Any]]:
        for chunk in chunks:
            text = chunk.decode() if isinstance(chunk, bytes) else chunk
            for block in filter(None, text.split("\n\n")):
                fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
                if "event" in fields:
                    yield {**fields, "data": json.loads(fields["data"])}


def names(events: list[dict[str, Any]]) -> list[str]:
    return [event["event"] for event in events]


def test_a_job_that_is_over_is_told_whole_and_the_stream_ends(alice: FlaskClient, move: Move) -> None:
    job_id = created_id(alice)
    move(*TO_THE_END)

    stream = Stream(alice, job_id)
    events = stream.rest()

    assert stream.response.content_type == "text/event-stream"
    assert names(events)[0] == "job_created"
    assert names(events)[-1] == "job_finished"
    assert [int(event["id"]) for event in events] == list(range(1, len(events) + 1))
    assert events[0]["data"] == alice.get(f"/api/v1/jobs/{job_id}/history").json["events"][0]


@pytest.mark.parametrize(("query", "headers"), [("?after=2", {}), ("", {"Last-Event-ID": "2"})])
def test_a_stream_goes_on_where_it_was(alice: FlaskClient, move: Move, query: str, headers: dict[str, str]) -> None:
    job_id = created_id(alice)
    move(*TO_THE_END)

    events = Stream(alice, job_id, query, **headers).rest()

    assert events[0]["id"] == "3"


def test_what_happens_while_somebody_listens_is_told_with_the_progress(
    alice: FlaskClient, move: Move, store: Store
) -> None:
    job_id = created_id(alice)
    stream = Stream(alice, job_id)
    assert stream.next()["event"] == "job_created"

    move(*TO_ENCODE)
    while stream.next()["event"] != "task_dispatched":
        pass
    store.record_progress([Progress(job_id, f"{job_id}.1.0", 1, "w1", 0.4, "two\nof five")])
    told = stream.next()
    stream.close()

    assert told == {
        "event": "progress",
        "data": {
            "task_id": f"{job_id}.1.0",
            "worker_id": None,
            "progress": 0.4,
            "progress_message": "two\nof five",
        },
    }


def test_somebody_elses_job_is_unknown(alice: FlaskClient, bob: FlaskClient) -> None:
    problem(bob.get(f"/api/v1/jobs/{created_id(alice)}/events"), 404, "not_found")


def test_where_no_place_is_left_it_says_so_and_a_closed_stream_leaves_its_place(
    store: Store, clients: Clients, declare: Callable[[], None]
) -> None:
    app: Flask = create_app(store=store, plans=PLANS, clients=clients, declare=declare, held=HeldRequests(1))
    alice = app.test_client()
    alice.environ_base["HTTP_X_CLIENT_TOKEN"] = "token-of-alice-in-tests"
    job_id = created_id(alice)

    first = Stream(alice, job_id)
    problem(alice.get(f"/api/v1/jobs/{job_id}/events"), 503, "unavailable")
    first.close()

    second = Stream(alice, job_id)
    assert second.next()["event"] == "job_created"
    second.close()


def test_a_client_that_never_reads_leaves_its_place(
    store: Store, clients: Clients, declare: Callable[[], None]
) -> None:
    app = create_app(store=store, plans=PLANS, clients=clients, declare=declare, held=HeldRequests(1))
    alice = app.test_client()
    alice.environ_base["HTTP_X_CLIENT_TOKEN"] = "token-of-alice-in-tests"
    job_id = created_id(alice)

    for _ in range(3):
        alice.get(f"/api/v1/jobs/{job_id}/events").close()

    assert threading.active_count() < 50
