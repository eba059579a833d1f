"""Skills in child processes: real processes and real crashes."""

from __future__ import annotations

import asyncio
import itertools
import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from avtomatika import SkillSet, Worker
from avtomatika.core.events import Result
from avtomatika.files.payload import PayloadFolder
from avtomatika.files.task_storage import TaskStorage
from avtomatika.schemas.wire import Progress, TaskMessage
from avtomatika.worker.execution import TaskExecution
from avtomatika.worker.processes import Child, ProcessExecutor, Zygote
from avtomatika.worker.processes.zygote import ProcessExit
from avtomatika.worker.recycling import RecycleLimits
from avtomatika.worker.runtime import Runtime

from ...support.scripted_orchestrator import DEADLINE_SECONDS
from ...support.waiting import wait_until

worker = Worker()


@worker.skill()
def work(
    params: dict[str, Any], task_id: str, progress: Callable[..., None], cancelled: Callable[[], bool], files: Any
) -> Any:
    """Do what *params* say, in order."""
    if "log" in params:
        with Path(params["log"]).open("a") as log:
            log.write(f"{task_id}\n")
    if "share" in params:
        progress(params["share"], "as told")
    if "write" in params:
        files.path("left.txt").write_text("left")
    if "kill" in params:
        os.kill(os.getpid(), params["kill"])
    if "exit" in params:
        os._exit(params["exit"])
    if "raise" in params:
        raise ValueError(params["raise"])
    if "begun" in params:
        Path(params["begun"]).write_text(str(os.getpid()))
    deadline = monotonic() + params.get("seconds", 0)
    while monotonic() < deadline and (params.get("is_deaf") or not cancelled()):
        sleep(0.01)
    if cancelled() and not params.get("is_deaf"):
        raise asyncio.CancelledError
    return {"pid": os.getpid(), "thread": threading.current_thread().name}


@worker.skill()
async def async_work(params: dict[str, Any]) -> Any:
    if "kill" in params:
        os.kill(os.getpid(), params["kill"])
    await asyncio.sleep(params.get("seconds", 0))
    return {"pid": os.getpid()}


odd_skills = SkillSet()


@odd_skills.middleware
def with_a_set(context: Any, call: Callable[[Any], Result]) -> Result:
    return replace(call(context), data={"seen": {1, 2}})


@odd_skills.skill()
def odd(params: dict[str, Any]) -> None: ...


worker.include(odd_skills)


@pytest.fixture
def payload_dir(tmp_path: Path) -> Path:
    return tmp_path / "payloads"


MakeRuntime = Callable[..., Runtime]


@pytest.fixture
def make_runtime(payload_dir: Path) -> Iterator[MakeRuntime]:
    """A runtime with sync skills in processes; keyword arguments go to the Runtime."""
    closing: list[Callable[[], object]] = []

    def make(*, concurrency: int = 2, recycling: RecycleLimits | None = None, **options: Any) -> Runtime:
        storage = TaskStorage(PayloadFolder(payload_dir), config=None)
        zygote = Zygote(Child(worker.skills, worker_id="worker-1", storage=storage, is_memory_limited=True).work)
        processes = ProcessExecutor(zygote, max_children=concurrency, storage=storage, recycling=recycling)
        options = {"processes": processes, "uses_processes": True} | options
        runtime = Runtime(worker.skills, worker_id="worker-1", concurrency=concurrency, storage=storage, **options)
        closing.extend([storage.close, processes.close, runtime.close])
        return runtime

    yield make
    for close in reversed(closing):
        close()


class Origin:
    """The link's handle of a task."""

    def __init__(self, deliveries: int = 1) -> None:
        self.deliveries = deliveries


def task(params: dict[str, Any], *, number: int = 0, skill: str = "work") -> TaskMessage:
    return TaskMessage("g0-1", f"g0-1.{number}.0", 1, skill, params, ("success",), "avt.steps", "video@0123abcd.a")


def start(runtime: Runtime, *params: dict[str, Any], skill: str = "work", deliveries: int = 1) -> None:
    runtime.submit([(task(each, number=at, skill=skill), Origin(deliveries)) for at, each in enumerate(params)])


def results(runtime: Runtime, count: int) -> list[Result]:
    """Return the next *count* results, in the order of their tasks."""
    deadline = monotonic() + DEADLINE_SECONDS
    ended: list[TaskExecution] = []
    while len(ended) < count and monotonic() < deadline:
        ended += runtime.collect(0.1)
    found = [execution.result for execution in ended if execution.result is not None]
    assert len(found) == count
    return sorted(found, key=lambda result: result.task_id)


def test_a_sync_skill_runs_in_the_main_thread_of_another_process(make_runtime: MakeRuntime) -> None:
    runtime = make_runtime()
    start(runtime, {}, {})

    first, second = results(runtime, 2)

    assert os.getpid() not in {first.data["pid"], second.data["pid"]}
    assert first.data["thread"] == "MainThread"
    assert (first.status, first.worker_id, runtime.busy) == ("success", "worker-1", 0)


def test_an_async_skill_runs_in_the_event_loop(make_runtime: MakeRuntime) -> None:
    runtime = make_runtime()
    start(runtime, {}, skill="async_work")

    assert results(runtime, 1)[0].data == {"pid": os.getpid()}


def test_a_process_is_used_again(make_runtime: MakeRuntime) -> None:
    runtime = make_runtime(concurrency=1)
    start(runtime, {}, {}, {})

    assert len({result.data["pid"] for result in results(runtime, 3)}) == 1


def test_exceptions_and_progress_are_passed_on(make_runtime: MakeRuntime) -> None:
    runtime = make_runtime()
    start(runtime, {"share": 0.4, "raise": "no such page"})
    wait_until(lambda: runtime.reports.wait_seconds == 0)

    [progress] = runtime.reports.due()
    [result] = results(runtime, 1)

    assert progress == Progress("g0-1", "g0-1.0.0", 1, "worker-1", 0.4, "as told")
    assert result.error is not None
    assert (result.status, result.error["message"]) == ("failure", "ValueError: no such page")


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"kill": signal.SIGKILL}, "was killed by SIGKILL (the system may have run out of memory)"),
        ({"kill": signal.SIGUSR1}, "was killed by SIGUSR1"),
        ({"exit": 3}, "ended with exit code 3"),
        ({"exit": 0}, "ended with exit code 0"),
    ],
)
def test_a_crash_costs_one_attempt_and_other_tasks_continue(
    make_runtime: MakeRuntime, params: dict[str, Any], words: str
) -> None:
    runtime = make_runtime()
    start(runtime, params, {"seconds": 0.3}, {})

    killed, other, later = results(runtime, 3)

    assert (killed.status, killed.error) == (
        "failure",
        {"code": "TRANSIENT_ERROR", "message": f"the process of the skill {words}"},
    )
    assert (other.status, later.status) == ("success", "success")


def test_files_of_a_killed_process_are_removed(make_runtime: MakeRuntime, payload_dir: Path) -> None:
    runtime = make_runtime()
    start(runtime, {"write": True, "kill": signal.SIGKILL})

    results(runtime, 1)

    assert list((payload_dir / "tasks").iterdir()) == []


def test_a_cancelled_skill_sees_it_in_its_process(make_runtime: MakeRuntime, tmp_path: Path) -> None:
    runtime = make_runtime()
    start(runtime, {"seconds": DEADLINE_SECONDS, "begun": str(tmp_path / "begun")})
    wait_until((tmp_path / "begun").exists)

    runtime.cancel(lambda execution: True)

    [result] = results(runtime, 1)
    assert result.status == "cancelled"


def test_a_skill_that_does_not_stop_is_killed(make_runtime: MakeRuntime, tmp_path: Path) -> None:
    runtime = make_runtime(kill_after_seconds=0.2)
    start(runtime, {"seconds": DEADLINE_SECONDS, "is_deaf": True, "begun": str(tmp_path / "begun")})
    wait_until((tmp_path / "begun").exists)
    begun = monotonic()

    runtime.cancel(lambda execution: True)

    [result] = results(runtime, 1)
    assert result.status == "cancelled"
    assert monotonic() - begun < DEADLINE_SECONDS / 2


@pytest.mark.parametrize("is_deaf", [False, True])
def test_exceeding_the_time_limit_is_a_transient_failure(make_runtime: MakeRuntime, is_deaf: bool) -> None:
    runtime = make_runtime(time_limit_seconds=0.2, kill_after_seconds=0.2)
    start(runtime, {"seconds": DEADLINE_SECONDS, "is_deaf": is_deaf}, {})

    late, quick = results(runtime, 2)
    more = "; it did not stop, so its process was killed" if is_deaf else ""

    assert (late.status, late.error) == (
        "failure",
        {"code": "TRANSIENT_ERROR", "message": f"the time limit of the task was exceeded: 0.2 s{more}"},
    )
    assert quick.status == "success"


def test_from_the_third_delivery_a_task_runs_isolated(make_runtime: MakeRuntime) -> None:
    runtime = make_runtime(uses_processes=False)
    start(runtime, {}, deliveries=2)
    [here] = results(runtime, 1)

    start(runtime, {}, {}, deliveries=3)
    first, second = results(runtime, 2)
    start(runtime, {}, skill="async_work", deliveries=3)
    [third] = results(runtime, 1)

    assert here.data["pid"] == os.getpid()
    assert len({os.getpid(), first.data["pid"], second.data["pid"], third.data["pid"]}) == 4


def test_a_crash_of_an_isolated_task_is_permanent(make_runtime: MakeRuntime) -> None:
    runtime = make_runtime()
    start(runtime, {"kill": signal.SIGUSR1}, {"seconds": 60}, skill="async_work", deliveries=3)

    runtime.cancel(lambda execution: execution.task.task_id == "g0-1.1.0")

    killed, cancelled = results(runtime, 2)
    assert (killed.status, cancelled.status) == ("failure", "cancelled")
    assert killed.error is not None
    assert (killed.error["code"], killed.error["message"]) == (
        "PERMANENT_ERROR",
        "the process of the skill was killed by SIGUSR1, and earlier deliveries failed as well",
    )


def test_a_process_is_replaced_after_its_maximum_number_of_tasks(make_runtime: MakeRuntime) -> None:
    runtime = make_runtime(concurrency=1, recycling=RecycleLimits(tasks=2))
    start(runtime, {}, {}, {}, {}, {})

    pids = [result.data["pid"] for result in results(runtime, 5)]

    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [2, 2, 1]


def test_a_process_is_replaced_above_its_memory_limit(make_runtime: MakeRuntime) -> None:
    runtime = make_runtime(concurrency=1, recycling=RecycleLimits(memory_bytes=1))
    start(runtime, {}, {})

    first, second = results(runtime, 2)

    assert first.data["pid"] != second.data["pid"]


def test_unstarted_tasks_can_be_withdrawn(make_runtime: MakeRuntime, tmp_path: Path) -> None:
    runtime = make_runtime(concurrency=1)
    start(runtime, {"seconds": 0.2, "begun": str(tmp_path / "begun")}, {}, {})
    wait_until((tmp_path / "begun").exists)

    withdrawn = runtime.withdraw()

    assert [execution.task.task_id for execution in withdrawn] == ["g0-1.1.0", "g0-1.2.0"]
    assert len(results(runtime, 1)) == 1
    assert runtime.busy == 0


def test_a_crash_costs_only_one_of_many_short_tasks(make_runtime: MakeRuntime) -> None:
    runtime = make_runtime(concurrency=4)
    start(runtime, *[{}] * 20)
    results(runtime, 20)

    start(runtime, *[{}] * 20, {"kill": signal.SIGUSR1}, *[{}] * 19)
    found = results(runtime, 40)

    assert [result.task_id for result in found if result.status == "failure"] == ["g0-1.20.0"]


def test_crashes_among_short_tasks_lose_and_repeat_none(make_runtime: MakeRuntime, tmp_path: Path) -> None:
    runtime = make_runtime(concurrency=4)
    given = [
        {"log": str(tmp_path / "log")} | ({"kill": signal.SIGUSR1} if number % 9 == 0 else {}) for number in range(400)
    ]
    found: list[Result] = []
    for first in range(0, len(given), 4):
        for number, params in enumerate(given[first : first + 4], start=first):
            runtime.submit([(task(params, number=number), Origin())])
        while runtime.busy > 2:
            found += [each.result for each in runtime.collect(DEADLINE_SECONDS) if each.result is not None]
    found += results(runtime, len(given) - len(found))

    begun = (tmp_path / "log").read_text().split()
    assert sorted(begun) == sorted({result.task_id for result in found})
    assert len(begun) == len(given)
    assert sum(result.status == "failure" for result in found) == len(given[::9])


def test_an_exit_reported_during_a_fork_is_not_lost() -> None:
    zygote = Zygote(lambda connection, claims: connection.recv(1))
    pairs = [socket.socketpair() for _ in range(4)]
    try:
        first = zygote.fork((pairs[0][1], pairs[1][1]))
        zygote.kill(first)
        assert select.select([zygote], [], [], DEADLINE_SECONDS)[0]
        zygote.fork((pairs[2][1], pairs[3][1]))

        assert not select.select([zygote], [], [], 0)[0]
        assert zygote.has_exits
        assert zygote.exits() == [ProcessExit(first, signal.SIGKILL)]
        assert not zygote.has_exits
    finally:
        zygote.close()
        for end in itertools.chain.from_iterable(pairs):
            end.close()


def test_a_crash_while_another_process_is_forked_ends_its_task(make_runtime: MakeRuntime) -> None:
    runtime = make_runtime(concurrency=2)
    for number in range(0, 60, 3):
        start(runtime, *[{"kill": signal.SIGUSR1}] * 3)
        assert [result.status for result in results(runtime, 3)] == ["failure"] * 3, number


def test_a_long_task_of_a_short_skill_delays_no_other(make_runtime: MakeRuntime, tmp_path: Path) -> None:
    runtime = make_runtime(concurrency=4)
    start(runtime, *[{}] * 40)
    results(runtime, 40)

    start(runtime, {"seconds": DEADLINE_SECONDS}, *[{}] * 11)
    begun = monotonic()
    found = results(runtime, 11)
    runtime.cancel(lambda execution: True)

    assert [result.status for result in found] == ["success"] * 11
    assert monotonic() - begun < DEADLINE_SECONDS / 2
    assert results(runtime, 1)[0].task_id == "g0-1.0.0"


def test_tasks_queued_behind_a_short_task_can_be_withdrawn(make_runtime: MakeRuntime) -> None:
    runtime = make_runtime(concurrency=1)
    start(runtime, *[{}] * 10)
    results(runtime, 10)

    start(runtime, {"seconds": 0.2}, {}, {})
    withdrawn = runtime.withdraw()

    assert len(withdrawn) + len(results(runtime, 3 - len(withdrawn))) == 3
    assert runtime.busy == 0


def test_a_result_that_json_cannot_represent_is_a_failure(make_runtime: MakeRuntime) -> None:
    runtime = make_runtime()
    start(runtime, {}, skill="odd")

    [result] = results(runtime, 1)

    assert result.error is not None
    assert (result.status, result.error["code"]) == ("failure", "PERMANENT_ERROR")


def test_closing_kills_running_tasks(make_runtime: MakeRuntime, tmp_path: Path) -> None:
    runtime = make_runtime()
    start(runtime, {"seconds": 600, "is_deaf": True, "begun": str(tmp_path / "begun")})
    wait_until(lambda: (tmp_path / "begun").exists() and (tmp_path / "begun").read_text())
    pid = int((tmp_path / "begun").read_text())

    [abandoned] = runtime.close()

    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    assert abandoned.task.task_id == "g0-1.0.0"


def test_killing_the_zygote_costs_running_tasks_one_attempt(
    make_runtime: MakeRuntime, payload_dir: Path, tmp_path: Path
) -> None:
    runtime = make_runtime(concurrency=2)
    start(runtime, {}, {"write": True, "seconds": 30, "begun": str(tmp_path / "begun")})
    wait_until((tmp_path / "begun").exists)
    deadline = monotonic() + DEADLINE_SECONDS
    [first] = [execution.result for execution in _first(runtime, deadline) if execution.result]

    os.kill(_parent_of(first.data["pid"]), signal.SIGKILL)
    [lost] = results(runtime, 1)
    left = list((payload_dir / "tasks").iterdir())
    start(runtime, {})
    [after] = results(runtime, 1)

    assert (lost.status, after.status) == ("failure", "success")
    assert left == []


def _first(runtime: Runtime, deadline: float) -> list[TaskExecution]:
    while not (ended := runtime.collect(0.1)):
        assert monotonic() < deadline
    return ended


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
