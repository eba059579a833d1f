"""The runner: handlers that return, raise, block, are late; alone and in hundreds."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
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


@pytest.fixture
def runner() -> Iterator[HandlerRunner]:
    runner = HandlerRunner(timeout_seconds=0.3)
    yield runner
    runner.close()


def collect(runner: HandlerRunner, count: int, within_seconds: float = 5.0) -> list[HandlerResult]:
    deadline = monotonic() + within_seconds
    outcomes: list[HandlerResult] = []
    while len(outcomes) < count:
        assert monotonic() < deadline, f"{len(outcomes)} of {count} outcomes after {within_seconds} s"
        outcomes += runner.collect(0.01)
    return outcomes


async def answer(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


def test_hundreds_of_sync_and_async_handlers_give_one_outcome_each(runner: HandlerRunner) -> None:
    sync = [HandlerCall(n, lambda n=n: n * 2, is_async=False) for n in range(300)]
    coroutines = [HandlerCall(n, lambda n=n: answer(n * 2), is_async=True) for n in range(300, 600)]

    runner.submit(sync + coroutines)

    assert {o.owner: o.returned for o in collect(runner, 600)} == {n: n * 2 for n in range(600)}
    assert runner.busy == 0


@pytest.mark.parametrize("error", [ValueError("no"), KeyError("k"), OSError(5, "io"), SystemExit(3), MemoryError()])
def test_whatever_a_handler_raises_is_its_outcome(runner: HandlerRunner, error: BaseException) -> None:
    def fail() -> None:
        raise error

    async def fail_later() -> None:
        await asyncio.sleep(0)
        raise error

    runner.submit([HandlerCall("sync", fail, is_async=False), HandlerCall("async", fail_later, is_async=True)])

    assert {o.owner: o.raised for o in collect(runner, 2)} == {"sync": error, "async": error}


def test_a_blocking_handler_does_not_hold_up_the_others(runner: HandlerRunner) -> None:
    release = threading.Event()
    blocking = [HandlerCall(f"blocked{n}", release.wait, is_async=False) for n in range(4)]

    runner.submit(blocking + [HandlerCall(n, lambda: "quick", is_async=False) for n in range(50)])
    quick = collect(runner, 50)

    assert all(o.returned == "quick" for o in quick)
    release.set()
    assert len(collect(runner, 4)) == 4


def test_a_handler_that_takes_too_long_is_given_up_and_its_late_outcome_ignored(runner: HandlerRunner) -> None:
    release = threading.Event()
    runner.submit(
        [
            HandlerCall("sync", release.wait, is_async=False),
            HandlerCall("async", lambda: asyncio.sleep(60), is_async=True),
        ]
    )

    outcomes = collect(runner, 2)

    assert {o.owner for o in outcomes} == {"sync", "async"}
    assert all(isinstance(o.raised, HandlerTimeoutError) and "HANDLER_TIMEOUT=0.3" in str(o.raised) for o in outcomes)
    release.set()
    runner.submit([HandlerCall("next", lambda: 1, is_async=False)])
    assert [o.owner for o in collect(runner, 1)] == ["next"]


def late(outcome: HandlerResult) -> bool:
    return isinstance(outcome.raised, HandlerTimeoutError)


def test_the_time_limit_counts_no_waiting_for_a_thread() -> None:
    runner = HandlerRunner(timeout_seconds=0.5, threads=4)
    runner.submit([HandlerCall(n, lambda: time.sleep(0.2), is_async=False) for n in range(10)])

    outcomes = collect(runner, 10)

    assert [outcome.raised for outcome in outcomes] == [None] * 10
    runner.close()


def test_handlers_that_hang_hold_no_thread_for_good() -> None:
    runner, release = HandlerRunner(timeout_seconds=0.3, threads=4), threading.Event()
    runner.submit([HandlerCall(f"hangs{n}", release.wait, is_async=False) for n in range(6)])
    runner.submit([HandlerCall("quick", lambda: "quick", is_async=False)])

    outcomes = collect(runner, 7)

    assert {outcome.owner for outcome in outcomes if late(outcome)} == {f"hangs{n}" for n in range(6)}
    assert runner.abandoned == 6
    release.set()
    wait_until(lambda: runner.abandoned == 0)
    runner.close()


def test_a_blueprint_whose_handlers_hang_leaves_threads_to_others() -> None:
    runner, release = HandlerRunner(timeout_seconds=60, threads=4), threading.Event()
    runner.submit([HandlerCall(f"hangs{n}", release.wait, is_async=False, group="bad") for n in range(50)])
    runner.submit([HandlerCall("good", lambda: "good", is_async=False, group="good")])

    [outcome] = collect(runner, 1)

    assert outcome.owner == "good"
    release.set()
    assert len(collect(runner, 50)) == 50
    runner.close()


async def block(release: threading.Event) -> str:
    release.wait()
    return "blocked"


def test_an_async_handler_that_blocks_holds_up_no_handler_of_another_blueprint() -> None:
    runner, release = HandlerRunner(timeout_seconds=60), threading.Event()
    runner.submit([HandlerCall("blocks", lambda: block(release), is_async=True, group="bad")])
    wait_until(lambda: runner._loops._loops[""].culprit() is not None)

    runner.submit([HandlerCall(n, lambda: answer(1), is_async=True, group="good") for n in range(5)])
    runner.submit([HandlerCall("behind", lambda: answer(1), is_async=True, group="bad")])
    outcomes = collect(runner, 6)

    assert {outcome.owner for outcome in outcomes} == {0, 1, 2, 3, 4, "behind"}
    [first] = runner._loops._leaving
    release.set()
    assert [outcome.returned for outcome in collect(runner, 1)] == ["blocked"]
    runner.submit([HandlerCall("patient", lambda: asyncio.sleep(1), is_async=True, group="good")])
    collect(runner, 1)
    wait_until(lambda: not first.is_alive)
    runner.submit([HandlerCall("after", lambda: asyncio.to_thread(lambda: 3), is_async=True, group="good")])
    assert [outcome.returned for outcome in collect(runner, 1)] == [3]
    runner.close()


def test_an_async_handler_that_blocks_for_too_long_is_given_up_and_the_others_are_displaced() -> None:
    runner, release = HandlerRunner(timeout_seconds=1.5), threading.Event()
    runner.submit([HandlerCall("waits", lambda: asyncio.sleep(60), is_async=True, group="good")])
    wait_until(lambda: runner._loops._loops[""].begun != [])
    runner.submit([HandlerCall("blocks", lambda: block(release), is_async=True, group="bad")])

    outcomes = {outcome.owner: outcome for outcome in collect(runner, 2)}

    assert late(outcomes["blocks"])
    assert isinstance(outcomes["waits"].raised, HandlerDisplacedError)
    assert runner.abandoned == 1
    runner.submit(
        [HandlerCall("again", lambda: answer("again"), is_async=True, group=group) for group in ("good", "bad")]
    )
    assert [outcome.returned for outcome in collect(runner, 2)] == ["again", "again"]
    release.set()
    wait_until(lambda: runner.abandoned == 0)
    runner.close()


def test_a_thread_that_an_async_handler_waits_for_is_given_up_with_it() -> None:
    runner, release = HandlerRunner(timeout_seconds=0.5, threads=4), threading.Event()
    runner.submit(
        [HandlerCall(n, lambda: asyncio.to_thread(release.wait), is_async=True, group="bad") for n in range(9)]
    )

    assert all(late(outcome) for outcome in collect(runner, 9))
    runner.submit([HandlerCall("good", lambda: asyncio.to_thread(lambda: 3), is_async=True, group="good")])
    assert [outcome.returned for outcome in collect(runner, 1)] == [3]
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

    assert [late(outcome) for outcome in collect(runner, 2)] == [True, True]
    wait_until(lambda: runner.abandoned == 1)
    release.set()
    wait_until(lambda: runner.abandoned == 0)
    runner.close()


def test_too_many_handlers_that_hang_wear_the_process_out() -> None:
    runner, release = HandlerRunner(timeout_seconds=0.3, threads=32), threading.Event()
    assert not runner.is_worn_out

    runner.submit([HandlerCall(n, release.wait, is_async=False) for n in range(20)])
    collect(runner, 20)

    assert runner.is_worn_out
    release.set()
    wait_until(lambda: not runner.is_worn_out)
    runner.close()


def wait_until(reached: Callable[[], bool], within_seconds: float = 5.0) -> None:
    deadline = monotonic() + within_seconds
    while not reached():
        assert monotonic() < deadline, f"not reached within {within_seconds} s"
        time.sleep(0.01)
