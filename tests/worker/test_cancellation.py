"""Running tasks are stopped when they are cancelled or superseded."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

import pytest
import redis

from avtomatika import Worker, broker
from avtomatika.schemas.wire import Cancel
from avtomatika.worker.links.broker_link import BrokerLink
from avtomatika.worker.runtime import Runtime

from ..support.scripted_orchestrator import DEADLINE_SECONDS, Office
from .test_runtime import collect, task as numbered

RunLink = Callable[..., BrokerLink]


@pytest.fixture
def begun() -> threading.Event:
    """Set once ``sync_work`` runs; its announcement may arrive earlier."""
    return threading.Event()


@pytest.fixture
def worker(begun: threading.Event) -> Worker:
    """Skills that run until they are cancelled; ``work`` gets an exception, ``sync_work`` checks."""
    worker = Worker()

    @worker.skill()
    async def work(params: dict[str, Any]) -> None:
        await asyncio.wait_for(asyncio.Event().wait(), DEADLINE_SECONDS)

    @worker.skill()
    def sync_work(params: dict[str, Any], cancelled: Callable[[], bool]) -> dict[str, bool]:
        begun.set()
        deadline = monotonic() + DEADLINE_SECONDS
        while not cancelled() and monotonic() < deadline:
            sleep(0.01)
        return {"saw it": cancelled()}

    return worker


@pytest.mark.parametrize(
    "cancel", [Cancel("g0-1.0"), Cancel("g0-1.0", "g0-1.0.0", 1)], ids=["of its group", "of the task"]
)
def test_an_async_skill_is_cancelled_at_its_await(
    office: Office, run_link: RunLink, worker: Worker, cancel: Cancel
) -> None:
    run_link(worker)
    office.wait_for_listeners(1)
    office.give({})
    office.notices(1)

    begun = monotonic()
    office.tell_workers(cancel)
    [result] = office.results(1)

    assert (result.status, result.error) == (
        "cancelled",
        {"code": "CANCELLED", "message": "the task was cancelled or is no longer needed"},
    )
    assert monotonic() - begun < DEADLINE_SECONDS / 2


def test_a_sync_skill_sees_that_it_is_cancelled(
    office: Office, run_link: RunLink, worker: Worker, begun: threading.Event
) -> None:
    run_link(worker)
    office.wait_for_listeners(1)
    office.give({}, task_type="sync_work")
    assert begun.wait(DEADLINE_SECONDS)

    office.tell_workers(Cancel("g0-1.0"))

    [result] = office.results(1)
    assert result.data == {"saw it": True}


def test_other_tasks_continue(office: Office, run_link: RunLink, worker: Worker) -> None:
    run_link(worker)
    office.wait_for_listeners(1)
    office.give({}, {}, {})
    office.notices(3)

    office.tell_workers(Cancel("g0-2.0"), Cancel("g0-1.1", "g0-1.1.0", 2), Cancel("g0-1.2", "g0-1.2.0", 1))

    [result] = office.results(1)
    assert result.task_id == "g0-1.2.0"
    office.tell_workers(Cancel("g0-1.0"), Cancel("g0-1.1"))
    assert [result.task_id for result in office.results(2)] == ["g0-1.0.0", "g0-1.1.0"]


def test_a_full_worker_receives_cancellations(office: Office, run_link: RunLink, worker: Worker) -> None:
    run_link(worker, concurrency=1)
    office.wait_for_listeners(1)
    office.give({}, {})
    office.notices(1)

    office.tell_workers(Cancel("g0-1.0", "g0-1.0.0", 1))

    [result] = office.results(1)
    assert result.task_id == "g0-1.0.0"
    office.notices(1)
    office.tell_workers(Cancel("g0-1.1"))
    assert office.results(1)[0].status == "cancelled"


def test_a_missed_cancellation_is_detected_at_lease_renewal(
    office: Office, run_link: RunLink, worker: Worker, redis_url: str
) -> None:
    run_link(worker, lease_seconds=1)
    office.give({})
    office.notices(1)

    with redis.Redis.from_url(redis_url) as client:
        client.zadd("{avt.g0}:revoked", {"g0-1": 1e15})

    assert office.results(1)[0].status == "cancelled"


def test_a_task_leased_to_another_worker_is_stopped(
    office: Office, run_link: RunLink, caplog: pytest.LogCaptureFixture
) -> None:
    result_of_stop = threading.Event()
    worker = Worker()

    @worker.skill()
    async def work(params: dict[str, Any]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            result_of_stop.set()

    run_link(worker, lease_seconds=1)
    office.give({})
    office.notices(1)

    with caplog.at_level(logging.INFO):
        office.take_away("work", "g0-1.0.0")
        assert result_of_stop.wait(DEADLINE_SECONDS)

    assert "task g0-1.0.0, attempt 1: stopping: the task was cancelled or is no longer needed" in caplog.text


def test_a_cancelled_task_does_not_start(office: Office) -> None:
    begun: list[str] = []
    go_on = threading.Event()
    worker = Worker()

    @worker.skill()
    def work(task_id: str) -> None:
        begun.append(task_id)
        go_on.wait(DEADLINE_SECONDS)

    runtime = Runtime(worker.skills, worker_id="worker-1", concurrency=1)
    runtime.submit([numbered(0), numbered(1)])
    runtime.cancel(lambda execution: execution.origin == 1)
    go_on.set()
    ended = collect(runtime, 2)
    runtime.close()

    assert begun == ["g0-1.0.0"]
    assert [execution.result.status for execution in ended if execution.result] == ["success", "cancelled"]


def test_an_async_skill_cancelled_at_its_start_has_a_result(office: Office) -> None:
    """A coroutine that is cancelled before its first step never runs; its slot must not be lost."""
    blocks, go_on = threading.Event(), threading.Event()
    begun: list[str] = []
    worker = Worker()

    @worker.skill()
    async def work(task_id: str) -> None:
        begun.append(task_id)
        if not blocks.is_set():  # later calls reach the loop only afterwards
            blocks.set()
            go_on.wait(DEADLINE_SECONDS)

    runtime = Runtime(worker.skills, worker_id="worker-1", concurrency=2)
    runtime.submit([numbered(0)])
    assert blocks.wait(DEADLINE_SECONDS)
    runtime.submit([numbered(1)])
    runtime.cancel(lambda execution: execution.origin == 1)
    go_on.set()
    ended = collect(runtime, 2)
    runtime.close()

    assert begun == ["g0-1.0.0"]
    assert [execution.result.status for execution in ended if execution.result] == ["success", "cancelled"]


def test_async_skills_can_be_cancelled_before_any_has_started(office: Office, worker: Worker) -> None:
    runtime = Runtime(worker.skills, worker_id="worker-1", concurrency=1)
    admitted = runtime.admit([numbered(0)])
    runtime.cancel(lambda execution: True)
    runtime.start(admitted)
    [ended] = collect(runtime, 1)
    runtime.close()

    assert ended.result is not None
    assert ended.result.status == "cancelled"


def test_an_unreadable_control_message_is_ignored(
    office: Office, run_link: RunLink, worker: Worker, redis_url: str
) -> None:
    run_link(worker)
    office.wait_for_listeners(1)
    office.give({})
    office.notices(1)

    with broker.connect(redis_url) as connection, connection.channel() as channel:
        channel.settle([broker.Outgoing("avt.control", "", '{"v": 1, "kind": "dance"}')], ())
    office.tell_workers(Cancel("g0-1.0"))

    assert office.results(1)[0].status == "cancelled"


def test_a_stopped_link_leaves_no_queue_behind(office: Office, run_link: RunLink, worker: Worker) -> None:
    link = run_link(worker)
    office.wait_for_listeners(1)

    link.stop()

    office.wait_for_listeners(0)
