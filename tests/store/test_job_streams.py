"""Streams of jobs on a real server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from avtomatika.core.job import Job
from avtomatika.schemas import wire
from avtomatika.store import StreamPage
from avtomatika.store.job_streams import JobStreams

from .conftest import House

Row = tuple[str | int | None, ...]


def texts(first: int, *chunks: str) -> list[Row]:
    return [(first + place, "text", chunk, None, 1000 + first + place) for place, chunk in enumerate(chunks)]


def end(seq: int) -> Row:
    return seq, "end", "", None, 0


def send(house: House, job: Job, *rows: Row, run: int = 1, attempt: int | None = None) -> None:
    [task] = job.tasks.values()
    row = (job.id, task.id, attempt or task.attempt, "ticket", run, rows)
    house.store.streams.append([wire.StreamChunks("w1", [row])])


def seen(page: StreamPage) -> list[tuple[int, str, Any]]:
    return [(entry.seq, entry.kind, entry.data) for entry in page.entries]


def test_chunks_of_all_kinds_are_kept_in_order(house: House) -> None:
    job = house.waiting()
    [task] = job.tasks.values()

    send(house, job, (1, "text", "a", None, 5), (2, "json", '{"n":1}', None, 6), (3, "bytes", "AAE=", None, 7))
    send(house, job, (4, "log", "ready", "WARNING", 8))
    page = house.store.streams.page(job.id)

    assert seen(page) == [(1, "text", "a"), (2, "json", {"n": 1}), (3, "bytes", "AAE="), (4, "log", "ready")]
    assert (page.entries[3].level, page.entries[0].task_id, page.entries[0].at_ms) == ("WARNING", task.id, 5)
    assert (page.next, page.is_last, page.is_open) == (4, True, True)
    send(house, job, end(5))
    assert not house.store.streams.page(job.id).is_open


def test_pages_continue_where_the_last_one_ended(house: House) -> None:
    job = house.waiting()
    send(house, job, *texts(1, *"abcde"))

    first = house.store.streams.page(job.id, limit=3)
    second = house.store.streams.page(job.id, after=first.next, limit=3)

    assert (len(first.entries), first.is_last) == (3, False)
    assert (seen(second), second.is_last) == ([(4, "text", "d"), (5, "text", "e")], True)


def test_repeated_messages_add_nothing(house: House) -> None:
    job = house.waiting()
    for _ in range(2):
        send(house, job, *texts(1, "a", "b"))
    send(house, job, *texts(2, "b", "c"))

    assert [entry.data for entry in house.store.streams.page(job.id).entries] == ["a", "b", "c"]


def test_messages_that_overtake_each_other_are_put_in_order(house: House) -> None:
    job = house.waiting()
    for rows in (texts(5, "e", "f"), texts(3, "c", "d"), texts(3, "c", "d"), texts(1, "a", "b"), texts(7, "g")):
        send(house, job, *rows)

    assert "".join(entry.data for entry in house.store.streams.page(job.id).entries) == "abcdefg"


def test_a_message_that_never_arrives_is_marked(house: House) -> None:
    job = house.waiting()
    send(house, job, *texts(1, "a"))
    for number in range(4, 4 + 65):
        send(house, job, *texts(number, "x"))

    assert seen(house.store.streams.page(job.id, limit=3)) == [
        (1, "text", "a"),
        (2, "dropped", 2),
        (3, "text", "x"),
    ]


def test_a_later_run_is_marked_and_earlier_ones_are_dropped(house: House) -> None:
    job = house.waiting()
    send(house, job, *texts(1, "a", "b"))
    send(house, job, *texts(4, "lost"))
    send(house, job, *texts(1, "A"), run=2)
    send(house, job, *texts(3, "late"))
    send(house, job, *texts(2, "B"), end(3), run=2)
    page = house.store.streams.page(job.id)

    assert seen(page) == [(1, "text", "a"), (2, "text", "b"), (3, "restart", None), (4, "text", "A"), (5, "text", "B")]
    assert not page.is_open


def test_other_attempts_and_unknown_jobs_are_dropped(house: House) -> None:
    job = house.waiting()
    send(house, job, *texts(1, "old"), attempt=7)
    send(house, replace(job, id="g0-9"), *texts(1, "stray"))

    assert house.store.streams.page(job.id).entries == []
    assert not house.client.exists("{avt.g0}:job:g0-9:stream")


def test_the_oldest_entries_are_dropped_and_the_reader_sees_it(house: House) -> None:
    job = house.waiting()
    streams = house.store.streams = JobStreams(house.store.streams._server, max_bytes=200)
    for number in range(1, 101):
        send(house, job, *texts(number, "12345678"))

    page = streams.page(job.id)
    assert seen(page) == [(95, "dropped", 95), *((number, "text", "12345678") for number in range(96, 101))]
    assert seen(streams.page(job.id, after=98)) == [(99, "text", "12345678"), (100, "text", "12345678")]
    assert house.client.xlen(house.keys(job.id).stream(job.id)) == 5


def test_a_deleted_job_leaves_no_stream(house: House) -> None:
    job = house.waiting()
    send(house, job, *texts(1, "a"))

    house.client.zadd(house.keys(job.id).retention(), {job.id: 1})
    house.sweeper.expire_jobs()

    assert house.client.keys(f"*:job:{job.id}*") == []
