"""The handler runner: handlers that return, raise, block or exceed their time, alone and in hundreds."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from time import monotonic
from typing import Any

import pytest

from avtomatika.orchestrator.handler_runner import (
    HandlerCall,
    HandlerDisplacedError,
    HandlerResult,
    HandlerRunner,
    HandlerTimeoutError,
)

from ..support.waiting import wait_until


@pytest.fixture
def runner() -> Iterator[HandlerRunner]:
    runner = HandlerRunner(timeout_seconds=30)
    yield runner
    runner.close()


def collect(runner: HandlerRunner, count: int, within_seconds: float = 5.0) -> list[HandlerResult]:
    deadline = monotonic() + within_seconds
    results: list[HandlerResult] = []
    while len(results) < count:
        assert monotonic() < deadline, f"{len(results)} of {count} results after {within_seconds} s"
        results += runner.collect(0.01)
    return results


async def answer(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


def test_hundreds_of_sync_and_async_handlers_give_one_result_each(runner: HandlerRunner) -> None:
    sync = [HandlerCall(n, lambda n=n: n * 2, is_async=False) for n in range(300)]
    coroutines = [HandlerCall(n, lambda n=n: answer(n * 2), is_async=True) for n in range(300, 600)]

    runner.submit(sync + coroutines)

    assert {o.owner: o.returned for o in collect(runner, 600)} == {n: n * 2 for n in range(600)}
    assert runner.busy == 0


@pytest.mark.parametrize("error", [ValueError("no"), KeyError("k"), OSError(5, "io"), SystemExit(3), MemoryError()])
def test_an_exception_of_a_handler_is_its_result(runner: HandlerRunner, error: BaseException) -> None:
    def fail() -> None:
        raise error

    async def fail_later() -> None:
        await asyncio.sleep(0)
        raise error

    runner.submit([HandlerCall("sync", fail, is_async=False), HandlerCall("async", fail_later, is_async=True)])

    assert {o.owner: o.raised for o in collect(runner, 2)} == {"sync": error, "async": error}


def test_a_blocking_handler_does_not_delay_others(runner: HandlerRunner) -> None:
    release = threading.Event()
    blocking = [HandlerCall(f"blocked{n}", release.wait, is_async=False) for n in range(4)]

    runner.submit(blocking + [HandlerCall(n, lambda: "quick", is_async=False) for n in range(50)])
    quick = collect(runner, 50)

    assert all(o.returned == "quick" for o in quick)
    release.set()
    assert len(collect(runner, 4)) == 4


def test_a_handler_that_exceeds_its_time_is_abandoned_and_its_late_result_ignored() -> None:
    release, runner = threading.Event(), HandlerRunner(timeout_seconds=0.3)
    runner.submit(
        [
            HandlerCall("sync", release.wait, is_async=False),
            HandlerCall("async", lambda: asyncio.sleep(60), is_async=True),
        ]
    )

    results = collect(runner, 2)

    assert {o.owner for o in results} == {"sync", "async"}
    assert all(isinstance(o.raised, HandlerTimeoutError) and "HANDLER_TIMEOUT=0.3" in str(o.raised) for o in results)
    release.set()
    runner.submit([HandlerCall("next", lambda: 1, is_async=False)])
    assert [o.owner for o in collect(runner, 1)] == ["next"]
    runner.close()


def late(result: HandlerResult) -> bool:
    return isinstance(result.raised, HandlerTimeoutError)


def test_the_time_limit_counts_no_waiting_for_a_thread() -> None:
    runner = HandlerRunner(timeout_seconds=0.5, threads=4)
    runner.submit([HandlerCall(n, lambda: time.sleep(0.2), is_async=False) for n in range(10)])

    results = collect(runner, 10)

    assert [result.raised for result in results] == [None] * 10
    runner.close()


def test_handlers_that_hang_hold_no_thread_for_good() -> None:
    runner, release = HandlerRunner(timeout_seconds=0.3, threads=4), threading.Event()
    runner.submit([HandlerCall(f"hangs{n}", release.wait, is_async=False) for n in range(6)])
    runner.submit([HandlerCall("quick", lambda: "quick", is_async=False)])

    results = collect(runner, 7)

    assert {result.owner for result in results if late(result)} == {f"hangs{n}" for n in range(6)}
    assert runner.abandoned == 6
    release.set()
    wait_until(lambda: runner.abandoned == 0)
    runner.close()


def test_a_blueprint_whose_handlers_hang_leaves_threads_to_others() -> None:
    runner, release = HandlerRunner(timeout_seconds=60, threads=4), threading.Event()
    runner.submit([HandlerCall(f"hangs{n}", release.wait, is_async=False, group="bad") for n in range(50)])
    runner.submit([HandlerCall("good", lambda: "good", is_async=False, group="good")])

    [result] = collect(runner, 1)

    assert result.owner == "good"
    release.set()
    assert len(collect(runner, 50)) == 50
    runner.close()


async def block(release: threading.Event) -> str:
    release.wait()
    return "blocked"


def test_a_blocking_async_handler_does_not_delay_other_blueprints() -> None:
    runner, release = HandlerRunner(timeout_seconds=60), threading.Event()
    runner.submit([HandlerCall("blocks", lambda: block(release), is_async=True, group="bad")])
    wait_until(lambda: runner._loops._loops[""].blocking_call() is not None)

    runner.submit([HandlerCall(n, lambda: answer(1), is_async=True, group="good") for n in range(5)])
    runner.submit([HandlerCall("behind", lambda: answer(1), is_async=True, group="bad")])
    results = collect(runner, 6)

    assert {result.owner for result in results} == {0, 1, 2, 3, 4, "behind"}
    [first] = runner._loops._draining
    release.set()
    assert [result.returned for result in collect(runner, 1)] == ["blocked"]
    runner.submit([HandlerCall("patient", lambda: asyncio.sleep(1), is_async=True, group="good")])
    collect(runner, 1)
    wait_until(lambda: not first.is_alive)
    runner.submit([HandlerCall("after", lambda: asyncio.to_thread(lambda: 3), is_async=True, group="good")])
    assert [result.returned for result in collect(runner, 1)] == [3]
    runner.close()


def test_an_async_handler_that_blocks_too_long_is_abandoned_and_others_are_displaced() -> None:
    runner, release = HandlerRunner(timeout_seconds=1.5), threading.Event()
    runner.submit([HandlerCall("waits", lambda: asyncio.sleep(60), is_async=True, group="good")])
    wait_until(lambda: runner._loops._loops[""].running != [])
    runner.submit([HandlerCall("blocks", lambda: block(release), is_async=True, group="bad")])

    results = {result.owner: result for result in collect(runner, 2)}

    assert late(results["blocks"])
    assert isinstance(results["waits"].raised, HandlerDisplacedError)
    assert runner.abandoned == 1
    runner.submit(
        [HandlerCall("again", lambda: answer("again"), is_async=True, group=group) for group in ("good", "bad")]
    )
    assert [result.returned for result in collect(runner, 2)] == ["again", "again"]
    release.set()
    wait_until(lambda: runner.abandoned == 0)
    runner.close()


def test_a_thread_that_an_async_handler_awaits_is_abandoned_with_it() -> None:
    runner, release = HandlerRunner(timeout_seconds=0.5, threads=4), threading.Event()
    runner.submit(
        [HandlerCall(n, lambda: asyncio.to_thread(release.wait), is_async=True, group="bad") for n in range(9)]
    )

    assert all(late(result) for result in collect(runner, 9))
    runner.submit([HandlerCall("good", lambda: asyncio.to_thread(lambda: 3), is_async=True, group="good")])
    assert [result.returned for result in collect(runner, 1)] == [3]
    release.set()
    runner.close()


def test_an_async_handler_that_cannot_be_cancelled_is_counted_until_it_ends() -> None:
    runner, release = HandlerRunner(timeout_seconds=0.3), threading.Event()

    async def refuse() -> None:
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)

    runner.submit(
        [HandlerCall("refuses", refuse, is_async=True), HandlerCall("waits", lambda: asyncio.sleep(60), is_async=True)]
    )

    assert [late(result) for result in collect(runner, 2)] == [True, True]
    wait_until(lambda: runner.abandoned == 1)
    release.set()
    wait_until(lambda: runner.abandoned == 0)
    runner.close()


def test_too_many_hanging_handlers_require_a_restart() -> None:
    runner, release = HandlerRunner(timeout_seconds=0.3, threads=32), threading.Event()
    assert not runner.needs_restart

    runner.submit([HandlerCall(n, release.wait, is_async=False) for n in range(20)])
    collect(runner, 20)

    assert runner.needs_restart
    release.set()
    wait_until(lambda: not runner.needs_restart)
    runner.close()
