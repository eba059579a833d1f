"""``client.stream``: what skills write, read until the job ends, through failing servers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from avtomatika import AsyncClient, Client
from avtomatika.client.answers import StreamEntry
from avtomatika.client.tasks import TaskHandle
from avtomatika.core.job import Job
from avtomatika.errors import NotFoundError, UnavailableError
from avtomatika.schemas import wire
from avtomatika.store import Store

from ..support.http_proxy import HttpProxy, busy, reset
from .test_client_failover import CLOSED
from .test_events import TO_THE_END

Move = Callable[..., Job]
TOKEN = "token-of-alice-in-tests"


@pytest.fixture
def alice(url: str) -> Iterator[Client]:
    with Client(url, TOKEN) as client:
        yield client


def write(store: Store, job_id: str, first: int, *chunks: tuple[str, str], attempt: int = 1) -> None:
    """Append chunks of (kind, data); a log has the level WARNING."""
    rows = [
        (first + place, kind, data, "WARNING" if kind == "log" else None, 1)
        for place, (kind, data) in enumerate(chunks)
    ]
    store.streams.append([wire.StreamChunks("w", [(job_id, f"{job_id}.1.0", attempt, "", 1, rows)])])


def data(entries: list[StreamEntry]) -> list[Any]:
    return [entry["data"] for entry in entries]


def test_entries_have_the_values_that_were_written(alice: Client, store: Store, move: Move) -> None:
    job_id = alice.submit("video")["job_id"]
    kinds = ("text", "tea"), ("json", '{"n": [1, null]}'), ("bytes", "AAE="), ("log", "hot"), ("bytes", "no base64!")
    write(store, job_id, 1, *kinds, ("end", ""))
    write(store, job_id, 1, ("text", "again"), ("end", ""), attempt=2)
    move(*TO_THE_END)

    entries = list(alice.stream(job_id))

    assert data(entries) == ["tea", {"n": [1, None]}, b"\x00\x01", "hot", "no base64!", None, "again"]
    assert [entry["seq"] for entry in entries] == list(range(1, 8))
    assert entries[3] == {
        "seq": 4,
        "task_id": f"{job_id}.1.0",
        "attempt": 1,
        "kind": "log",
        "data": "hot",
        "level": "WARNING",
        "at": "1970-01-01T00:00:00.001Z",
    }
    assert [(entry["kind"], entry["attempt"]) for entry in entries[5:]] == [("restart", 2), ("text", 2)]
    assert data(list(alice.stream(job_id, after=4, kinds=("text", "log")))) == ["again"]
    assert data(list(TaskHandle[None](alice, job_id, lambda _: None).stream(kinds=("log",)))) == ["hot"]


def test_a_reader_follows_until_the_end_or_takes_what_there_is(alice: Client, store: Store, move: Move) -> None:
    job_id = alice.submit("video")["job_id"]
    assert list(alice.stream(job_id, follow=False)) == []
    write(store, job_id, 1, ("text", "a"), ("text", "b"))
    assert data(list(alice.stream(job_id, follow=False))) == ["a", "b"]

    entries = alice.stream(job_id, after=1)
    first = next(entries)
    threading.Timer(0.1, write, (store, job_id, 3, ("text", "c"))).start()
    second = next(entries)
    write(store, job_id, 4, ("end", ""))
    move(*TO_THE_END)

    assert (data([first, second]), list(entries)) == (["b", "c"], [])


def test_more_entries_than_a_page_are_read_in_order(alice: Client, store: Store) -> None:
    job_id = alice.submit("video")["job_id"]
    write(store, job_id, 1, *(("text", str(number)) for number in range(2_500)))

    assert data(list(alice.stream(job_id, follow=False))) == [str(number) for number in range(2_500)]


def test_a_reader_continues_when_its_connection_fails(alice: Client, url: str, store: Store, move: Move) -> None:
    job_id = alice.submit("video")["job_id"]
    write(store, job_id, 1, ("text", "a"))
    with HttpProxy(url) as first, HttpProxy(url) as second, Client([first.url, second.url], TOKEN) as client:
        entries = client.stream(job_id)
        read = [next(entries)]
        faults = first.fail("GET", reset), second.fail("GET", busy)
        write(store, job_id, 2, ("text", "b"), ("end", ""))
        read.append(next(entries))
        move(*TO_THE_END)
        read += entries

    assert data(read) == ["a", "b"]
    assert all(fault.seen for fault in faults)


def test_a_server_that_was_never_reached_and_an_unknown_job_are_errors(alice: Client) -> None:
    with Client(CLOSED, TOKEN) as client, pytest.raises(UnavailableError, match="cannot be reached"):
        next(client.stream("g0-1"))
    with pytest.raises(NotFoundError, match="g0-01ARZ3NDEKTSV4RRFFQ69G5FAV"):
        next(alice.stream("g0-01ARZ3NDEKTSV4RRFFQ69G5FAV"))


def test_the_async_client_reads_while_others_work(url: str, store: Store, move: Move) -> None:
    async def use() -> list[StreamEntry]:
        async with AsyncClient(url, TOKEN) as client:
            job_id = (await client.submit("video"))["job_id"]

            async def read() -> list[StreamEntry]:
                return [entry async for entry in client.stream(job_id)]

            reading = asyncio.create_task(read())
            await asyncio.to_thread(write, store, job_id, 1, ("text", "a"), ("bytes", "AA=="), ("end", ""))
            await asyncio.to_thread(move, *TO_THE_END)
            return await reading

    assert data(asyncio.run(use())) == ["a", b"\x00"]
