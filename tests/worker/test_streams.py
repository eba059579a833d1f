"""What skills write and log while they run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

import pytest

from avtomatika import Worker
from avtomatika.core.plan import WORKERS
from avtomatika.errors import HandlerError
from avtomatika.schemas import wire
from avtomatika.worker.stream_buffer import BATCH_BYTES, BUFFER_BYTES, StreamBuffer
from avtomatika.worker.task_stream import StreamLogHandler, TaskStream

from .conftest import Office

logger = logging.getLogger("skills")


class FakeTask:
    job_id, task_id, attempt, ticket = "g0-1", "g0-1.1.0", 1, "t"


class FakeExecution:
    """What the buffer reads of an execution."""

    def __init__(self, deliveries: int = 1) -> None:
        self.task = FakeTask()
        self.origin = self
        self.deliveries = deliveries


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def text(data: str) -> wire.Chunk:
    return wire.Chunk("text", data, None, 1)


def rows(batch: list[wire.RunChunks]) -> list[tuple[Any, ...]]:
    return [tuple(row[:3]) for run in batch for row in run.chunks]


def chunks_of(office: Office) -> list[tuple[str, str, str | None]]:
    """Kind, data and level of the chunks up to the end of the run."""
    found: list[tuple[str, str, str | None]] = []
    while not found or found[-1][0] != "end":
        [notice] = office.notices(1)
        if isinstance(notice, wire.StreamChunks):
            found += [(kind, data, level) for run in notice.runs for _, kind, data, level, _ in run.chunks]
    return found[:-1]


@pytest.fixture
def captured() -> Iterator[None]:
    handler = StreamLogHandler(logging.INFO)
    logging.getLogger().addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield
    logging.getLogger().removeHandler(handler)


def test_chunks_are_sent_at_most_every_100_ms_unless_a_batch_is_full() -> None:
    clock, wakes = Clock(), list[int]()
    buffer = StreamBuffer(lambda: wakes.append(1), clock=clock)
    execution: Any = FakeExecution()

    buffer.write(execution, text("a"))
    first = buffer.take()
    buffer.write(execution, text("b"))
    buffer.write(execution, text("c"))

    assert (rows(first), buffer.take(), buffer.wait_seconds) == ([(1, "text", "a")], [], 0.1)
    clock.now = 0.1
    assert rows(buffer.take()) == [(2, "text", "b"), (3, "text", "c")]
    assert len(wakes) == 2
    buffer.write(execution, text("x" * BATCH_BYTES))
    assert buffer.wait_seconds == 0


def test_a_failed_batch_is_sent_again_unchanged_and_the_end_follows() -> None:
    clock = Clock()
    buffer = StreamBuffer(lambda: None, clock=clock)
    execution: Any = FakeExecution()
    buffer.write(execution, text("a"))
    batch = buffer.take()
    buffer.put_back(batch)
    buffer.write(execution, text("b"))

    assert buffer.wait_seconds == 1.0
    assert buffer.close([execution])
    assert buffer.take(flush=True) is batch
    assert rows(buffer.take(flush=True)) == [(2, "text", "b"), (3, "end", "")]
    assert buffer.take(flush=True) == []


def test_a_full_buffer_drops_the_oldest_chunks_and_marks_them() -> None:
    buffer = StreamBuffer(lambda: None)
    execution: Any = FakeExecution()
    piece = "x" * 60_000
    count = BUFFER_BYTES // len(piece) + 3
    for _ in range(count):
        buffer.write(execution, text(piece))
    sent = rows(buffer.take())
    while batch := buffer.take(flush=True):
        sent += rows(batch)

    assert sent[0][1] == "dropped"
    assert int(sent[0][2]) + len(sent) - 1 == count
    assert [number for number, *_ in sent] == list(range(1, len(sent) + 1))


def test_a_later_delivery_has_a_larger_run() -> None:
    buffer = StreamBuffer(lambda: None)
    for deliveries in (1, 2):
        execution: Any = FakeExecution(deliveries)
        buffer.write(execution, text("a"))
    first, second = buffer.take(flush=True)
    assert first.run < second.run


@pytest.mark.parametrize("chunk", ["x" * 65_537, b"x" * 60_000, "ä" * 40_000])
def test_a_chunk_that_is_too_large_is_refused(chunk: str | bytes) -> None:
    with pytest.raises(ValueError, match="may have at most 65536"):
        TaskStream(lambda _: None).write(chunk)


def test_what_is_not_json_and_unknown_levels_are_refused() -> None:
    stream = TaskStream(lambda _: None)
    with pytest.raises(HandlerError, match="chunk"):
        stream.write(object())
    with pytest.raises(ValueError, match="level is 'LOUD'"):
        stream.log("x", level="LOUD")


def test_a_sync_skill_writes_logs_and_is_captured(office: Office, run_link: Callable[..., Any], captured: None) -> None:
    worker = Worker()

    @worker.skill()
    def sync_work(stream: Any) -> dict[str, Any]:
        stream.write("text")
        stream.write({"n": (1, 2)})
        stream.write(b"\x00\x01")
        stream.log("own line", level="WARNING")
        logger.info("step %d", 1)
        logger.debug("not captured")
        return {"ok": True}

    run_link(worker)
    office.give({}, task_type="sync_work")

    assert chunks_of(office) == [
        ("text", "text", None),
        ("json", '{"n":[1,2]}', None),
        ("bytes", "AAE=", None),
        ("log", "own line", "WARNING"),
        ("log", "step 1", "INFO"),
    ]


def test_async_skills_do_not_mix_their_logs(office: Office, run_link: Callable[..., Any], captured: None) -> None:
    worker = Worker()

    @worker.skill()
    async def work(params: dict[str, Any]) -> None:
        for _ in range(3):
            logger.info("%s", params["n"])
            await asyncio.sleep(0.01)

    run_link(worker)
    office.give({"n": 1}, {"n": 2})

    found: dict[str, list[str]] = {}
    ended = 0
    while ended < 2:
        [delivery] = office.take(WORKERS, 1)
        notice = wire.load_notice(delivery.body)
        for run in notice.runs if isinstance(notice, wire.StreamChunks) else ():
            found.setdefault(run.task_id, []).extend(str(row[2]) for row in run.chunks)
            ended += sum(row[1] == "end" for row in run.chunks)
    assert sorted(found.values()) == [["1", "1", "1", ""], ["2", "2", "2", ""]]


def test_generators_write_what_they_yield(office: Office, run_link: Callable[..., Any]) -> None:
    worker = Worker()

    @worker.skill()
    def sync_work() -> Generator[str, None, dict[str, int]]:
        yield "a"
        yield "b"
        return {"count": 2}

    @worker.skill()
    async def work() -> AsyncIterator[Any]:
        yield "c"
        await asyncio.sleep(0)
        yield {"d": 1}

    run_link(worker)
    office.give({}, task_type="sync_work")
    assert [data for _, data, _ in chunks_of(office)] == ["a", "b"]
    [result] = office.results(1)
    assert (result.status, result.data) == ("success", {"count": 2})

    office.give({})
    assert [data for _, data, _ in chunks_of(office)] == ["c", '{"d":1}']
    [result] = office.results(1)
    assert (result.status, result.data) == ("success", {"result": None})
