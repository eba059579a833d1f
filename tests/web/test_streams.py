"""The stream of a job: server-sent events and pages."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from flask.testing import FlaskClient

from avtomatika.core.job import Job
from avtomatika.schemas import wire
from avtomatika.store import Store

from .conftest import created_id
from .test_events import TO_THE_END, Stream

Move = Callable[..., Job]


def write(store: Store, job_id: str, first: int, *chunks: str, closes: bool = False) -> None:
    rows: list[Any] = [(first + place, "text", chunk, None, 1) for place, chunk in enumerate(chunks)]
    if closes:
        rows.append((first + len(chunks), "end", "", None, 1))
    store.streams.append([wire.StreamChunks("w", [(job_id, f"{job_id}.1.0", 1, "", 1, rows)])])


def test_a_stream_is_read_while_it_is_written_and_ends_with_the_job(
    alice: FlaskClient, store: Store, move: Move
) -> None:
    job_id = created_id(alice)
    write(store, job_id, 1, "a")

    stream = Stream(alice, job_id, path="stream")
    first = stream.next()
    threading.Timer(0.1, write, (store, job_id, 2, "b"), {"closes": True}).start()
    second = stream.next()
    move(*TO_THE_END)
    last = stream.next()

    assert (first["event"], first["id"], first["data"]["data"]) == ("text", "1", "a")
    assert (second["id"], second["data"]["data"], second["data"]["attempt"]) == ("2", "b", 1)
    assert (last["event"], last["id"], last["data"]["data"]) == ("end", "2", "finished")
    assert stream.rest() == []


def test_chunks_that_arrive_after_the_end_of_the_job_are_read(alice: FlaskClient, store: Store, move: Move) -> None:
    job_id = created_id(alice)
    move(*TO_THE_END)
    stream = Stream(alice, job_id, path="stream")
    write(store, job_id, 1, "late", closes=True)

    assert [event["data"]["data"] for event in stream.rest()] == ["late", "finished"]


def test_a_stream_resumes_after_the_last_event_id(alice: FlaskClient, store: Store, move: Move) -> None:
    job_id = created_id(alice)
    write(store, job_id, 1, "a", "b", "c", closes=True)
    move(*TO_THE_END)

    events = Stream(alice, job_id, path="stream", **{"Last-Event-ID": "2"}).rest()

    assert [event["data"]["data"] for event in events] == ["c", "finished"]


def test_pages_of_json(alice: FlaskClient, bob: FlaskClient, store: Store, move: Move) -> None:
    job_id = created_id(alice)
    write(store, job_id, 1, "a", "b", "c")
    path = f"/api/v1/jobs/{job_id}/stream"

    first = alice.get(f"{path}?limit=2").json
    second = alice.get(f"{path}?limit=2&after={first['next']}").json
    threading.Timer(0.1, write, (store, job_id, 4, "d"), {"closes": True}).start()
    held = alice.get(f"{path}?wait=20&after={second['next']}").json

    assert [entry["data"] for page in (first, second, held) for entry in page["entries"]] == ["a", "b", "c", "d"]
    assert first["entries"][0] == {
        "seq": 1,
        "task_id": f"{job_id}.1.0",
        "attempt": 1,
        "kind": "text",
        "data": "a",
        "level": None,
        "at": "1970-01-01T00:00:00.001Z",
    }
    assert (first["next"], first["has_ended"]) == (2, False)
    move(*TO_THE_END)
    ended = alice.get(f"{path}?wait=20&after=4").json
    while not ended["has_ended"]:
        ended = alice.get(f"{path}?wait=20&after=4").json
    assert [entry["kind"] for entry in ended["entries"]] == ["end"]
    assert bob.get(f"{path}?limit=2").status_code == 404
    assert alice.get(f"{path}?limit=0").status_code == 422
