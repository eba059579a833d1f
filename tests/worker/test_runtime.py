from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any

import pytest

from avtomatika import Worker
from avtomatika.files.task_files import TaskFiles
from avtomatika.schemas.wire import TaskMessage
from avtomatika.worker.execution import TaskExecution
from avtomatika.worker.runtime import Runtime

DEADLINE_SECONDS = 10


@dataclass
class Size:
    width: int


@pytest.fixture
def make_runtime() -> Iterator[Callable[..., Runtime]]:
    runtimes: list[Runtime] = []

    def make(worker: Worker, *, concurrency: int = 4) -> Runtime:
        runtimes.append(Runtime(worker.skills, worker_id="worker-1", concurrency=concurrency))
        return runtimes[-1]

    yield make
    for runtime in runtimes:
        runtime.close()


def task(number: int, task_type: str = "work") -> tuple[TaskMessage, int]:
    name = f"g0-1.{number}.0"
    message = TaskMessage("g0-1", name, 1, task_type, {"n": number}, ("success",), "avt.steps", "video@0123abcd.a")
    return message, number


def collect(runtime: Runtime, count: int) -> list[TaskExecution]:
    deadline = monotonic() + DEADLINE_SECONDS
    collected: list[TaskExecution] = []
    while len(collected) < count and monotonic() < deadline:
        collected += runtime.collect(0.1)
    assert len(collected) == count
    return collected


def data_of(execution: TaskExecution) -> Any:
    assert execution.result is not None
    return execution.result.data


def test_async_skills_run_together(make_runtime: Callable[..., Runtime]) -> None:
    worker = Worker()
    barrier = asyncio.Barrier(3)

    @worker.skill()
    async def work(params: dict[str, Any]) -> dict[str, Any]:
        await barrier.wait()
        return {"n": params["n"]}

    runtime = make_runtime(worker)
    runtime.submit([task(number) for number in range(3)])

    ended = collect(runtime, 3)

    assert sorted((execution.origin, data_of(execution)["n"]) for execution in ended) == [(0, 0), (1, 1), (2, 2)]
    assert runtime.busy == 0


def test_sync_skills_run_side_by_side(make_runtime: Callable[..., Runtime]) -> None:
    worker = Worker()
    barrier = threading.Barrier(3)

    @worker.skill()
    def work(params: dict[str, Any]) -> dict[str, Any]:
        barrier.wait(DEADLINE_SECONDS)
        return {"n": params["n"]}

    runtime = make_runtime(worker)
    runtime.submit([task(0)])
    runtime.submit([task(1), task(2)])

    ended = collect(runtime, 3)

    assert sorted(data_of(execution)["n"] for execution in ended) == [0, 1, 2]


def test_no_more_threads_are_started_than_tasks_can_run(make_runtime: Callable[..., Runtime]) -> None:
    worker = Worker()

    @worker.skill()
    def work(params: dict[str, Any]) -> str:
        return threading.current_thread().name

    runtime = make_runtime(worker, concurrency=2)
    runtime.submit([task(number) for number in range(100)])

    ended = collect(runtime, 100)

    assert {data_of(execution)["result"] for execution in ended} <= {"skill-1", "skill-2"}


def test_an_exception_becomes_the_result(make_runtime: Callable[..., Runtime]) -> None:
    worker = Worker()

    @worker.skill()
    async def work(params: dict[str, Any]) -> None:
        raise SystemExit("enough")

    @worker.skill()
    def sync_work(params: dict[str, Any]) -> None:
        raise SystemExit("enough")

    runtime = make_runtime(worker)
    runtime.submit([task(0), task(1, "sync_work")])

    for execution in collect(runtime, 2):
        assert execution.result is not None
        assert execution.result.error is not None
        assert execution.result.error["message"] == "SystemExit: enough"


def test_an_async_skill_that_cancels_itself_has_a_result(make_runtime: Callable[..., Runtime]) -> None:
    worker = Worker()

    @worker.skill()
    async def work(params: dict[str, Any]) -> None:
        raise asyncio.CancelledError

    runtime = make_runtime(worker)
    runtime.submit([task(0)])

    [execution] = collect(runtime, 1)

    assert execution.result is not None
    assert execution.result.status == "failure"


def test_invalid_params_fail_the_task_without_a_call(make_runtime: Callable[..., Runtime]) -> None:
    worker = Worker()

    @worker.skill("work")
    def resize(params: Size) -> None: ...

    runtime = make_runtime(worker)
    runtime.submit([task(0)])

    [execution] = collect(runtime, 1)

    assert execution.result is not None
    message = "params.n: unknown field; params.width: is missing"
    assert execution.result.error == {"code": "INVALID_INPUT_ERROR", "message": message}


def test_unstarted_tasks_can_be_withdrawn(make_runtime: Callable[..., Runtime]) -> None:
    worker = Worker()
    begun, go_on = threading.Event(), threading.Event()

    @worker.skill()
    def work(params: dict[str, Any]) -> None:
        begun.set()
        go_on.wait(DEADLINE_SECONDS)

    runtime = make_runtime(worker, concurrency=1)
    runtime.submit([task(number) for number in range(3)])
    begun.wait(DEADLINE_SECONDS)

    withdrawn = runtime.withdraw()
    go_on.set()

    assert [execution.origin for execution in withdrawn] == [1, 2]
    assert [execution.origin for execution in collect(runtime, 1)] == [0]
    assert runtime.busy == 0


def test_slow_tasks_are_abandoned_without_a_result(make_runtime: Callable[..., Runtime]) -> None:
    worker = Worker()
    begun, go_on = threading.Event(), threading.Event()

    @worker.skill()
    def work(params: dict[str, Any]) -> None:
        begun.set()
        go_on.wait(DEADLINE_SECONDS)

    @worker.skill()
    async def short(params: dict[str, Any]) -> None:
        await asyncio.to_thread(go_on.wait, DEADLINE_SECONDS)

    runtime = make_runtime(worker)
    for _ in range(5):
        runtime.durations.record("work", 100)
        runtime.durations.record("short", 1)
    runtime.submit([task(0), task(1, "short")])
    begun.wait(DEADLINE_SECONDS)

    patient, hasty = runtime.withdraw(200), runtime.withdraw(20)
    go_on.set()

    assert (patient, [execution.origin for execution in hasty]) == ([], [0])
    assert [execution.origin for execution in collect(runtime, 1)] == [1]
    assert runtime.busy == 0


def test_a_loop_that_is_blocked_shows_its_age(make_runtime: Callable[..., Runtime]) -> None:
    worker = Worker()
    begun, go_on = threading.Event(), threading.Event()

    @worker.skill()
    async def work(params: dict[str, Any]) -> None:
        begun.set()
        go_on.wait(DEADLINE_SECONDS)

    runtime = make_runtime(worker)
    runtime.submit([task(0)])
    begun.wait(DEADLINE_SECONDS)
    first = runtime.ages()["async skills"]
    second = runtime.ages()["async skills"]
    go_on.set()
    collect(runtime, 1)

    assert second > first
    deadline = monotonic() + DEADLINE_SECONDS
    while runtime.ages()["async skills"] > 0:
        assert monotonic() < deadline


def test_closing_returns_unfinished_executions_and_cancels_them(make_runtime: Callable[..., Runtime]) -> None:
    worker = Worker()
    begun, cancelled = threading.Event(), threading.Event()

    @worker.skill()
    async def work(params: dict[str, Any]) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    runtime = make_runtime(worker)
    runtime.submit([task(7)])
    begun.wait(DEADLINE_SECONDS)

    abandoned = runtime.close()

    assert [execution.origin for execution in abandoned] == [7]
    assert cancelled.wait(DEADLINE_SECONDS)


def test_collect_returns_when_a_task_finishes(make_runtime: Callable[..., Runtime]) -> None:
    worker = Worker()

    @worker.skill()
    async def work(params: dict[str, Any]) -> None:
        await asyncio.sleep(0)

    runtime = make_runtime(worker)
    runtime.submit([task(0)])
    begun = monotonic()

    assert len(runtime.collect(DEADLINE_SECONDS)) == 1
    assert monotonic() - begun < DEADLINE_SECONDS / 2


@pytest.mark.parametrize("ending", ["exit", "stop"])
def test_the_event_loop_survives_whatever_a_skill_does(make_runtime: Callable[..., Runtime], ending: str) -> None:
    worker = Worker()

    @worker.skill()
    async def work(params: dict[str, Any]) -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.stop if ending == "stop" else sys.exit)
        await asyncio.sleep(0.01)

    runtime = make_runtime(worker)
    runtime.submit([task(0)])
    collect(runtime, 1)
    runtime.submit([task(1)])

    [ended] = collect(runtime, 1)

    assert ended.result is not None
    assert ended.result.status == "success"


@pytest.mark.parametrize("is_async", [False, True])
def test_a_result_counts_though_the_files_of_its_task_cannot_be_removed(
    make_runtime: Callable[..., Runtime], monkeypatch: pytest.MonkeyPatch, is_async: bool
) -> None:
    worker = Worker()

    def fail(self: TaskFiles) -> None:
        self._folder = None
        raise OSError("Input/output error")

    @worker.skill("work") if not is_async else worker.skill("other")
    def work(params: dict[str, Any], files: Any) -> None:
        files.path("a.txt").write_text("a")

    @worker.skill("work") if is_async else worker.skill("other")
    async def async_work(params: dict[str, Any], files: Any) -> None:
        files.path("a.txt").write_text("a")

    monkeypatch.setattr(TaskFiles, "close", fail)
    runtime = make_runtime(worker, concurrency=1)
    for number in range(2):
        runtime.submit([task(number)])
        [ended] = collect(runtime, 1)
        assert ended.result is not None
        assert (ended.result.status, ended.result.error) == ("success", None)
