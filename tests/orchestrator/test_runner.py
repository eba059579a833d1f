"""The runner: handlers that return, raise, block, are late; alone and in hundreds."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest

from avtomatika.orchestrator.runner import Call, HandlerTimeout, Outcome, Runner


@pytest.fixture
def runner() -> Iterator[Runner]:
    runner = Runner(timeout_seconds=0.3)
    yield runner
    runner.close()


def collect(runner: Runner, count: int, within_seconds: float = 5.0) -> list[Outcome]:
    deadline = monotonic() + within_seconds
    outcomes: list[Outcome] = []
    while len(outcomes) < count:
        assert monotonic() < deadline, f"{len(outcomes)} of {count} outcomes after {within_seconds} s"
        outcomes += runner.collect(0.01)
    return outcomes


async def answer(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


def test_hundreds_of_sync_and_async_handlers_give_one_outcome_each(runner: Runner) -> None:
    sync = [Call(n, lambda n=n: n * 2, is_async=False) for n in range(300)]
    coroutines = [Call(n, lambda n=n: answer(n * 2), is_async=True) for n in range(300, 600)]

    runner.submit(sync + coroutines)

    assert {o.owner: o.returned for o in collect(runner, 600)} == {n: n * 2 for n in range(600)}
    assert runner.busy == 0


@pytest.mark.parametrize("error", [ValueError("no"), KeyError("k"), OSError(5, "io"), SystemExit(3), MemoryError()])
def test_whatever_a_handler_raises_is_its_outcome(runner: Runner, error: BaseException) -> None:
    def fail() -> None:
        raise error

    async def fail_later() -> None:
        await asyncio.sleep(0)
        raise error

    runner.submit([Call("sync", fail, is_async=False), Call("async", fail_later, is_async=True)])

    assert {o.owner: o.raised for o in collect(runner, 2)} == {"sync": error, "async": error}


def test_a_blocking_handler_does_not_hold_up_the_others(runner: Runner) -> None:
    release = threading.Event()
    blocking = [Call(f"blocked{n}", release.wait, is_async=False) for n in range(4)]

    runner.submit(blocking + [Call(n, lambda: "quick", is_async=False) for n in range(50)])
    quick = collect(runner, 50)

    assert all(o.returned == "quick" for o in quick)
    release.set()
    assert len(collect(runner, 4)) == 4


def test_a_handler_that_takes_too_long_is_given_up_and_its_late_outcome_ignored(runner: Runner) -> None:
    release = threading.Event()
    runner.submit([Call("sync", release.wait, is_async=False), Call("async", lambda: asyncio.sleep(60), is_async=True)])

    outcomes = collect(runner, 2)

    assert {o.owner for o in outcomes} == {"sync", "async"}
    assert all(isinstance(o.raised, HandlerTimeout) and "HANDLER_TIMEOUT=0.3" in str(o.raised) for o in outcomes)
    release.set()
    runner.submit([Call("next", lambda: 1, is_async=False)])
    assert [o.owner for o in collect(runner, 1)] == ["next"]
