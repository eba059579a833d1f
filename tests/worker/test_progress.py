from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from avtomatika import Worker
from avtomatika.schemas import wire
from avtomatika.worker.progress import MAX_MESSAGE, ProgressReports, validated

from ..support.scripted_orchestrator import DEADLINE_SECONDS, Office


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def told(share: float, task_id: str = "g0-1.1.0") -> wire.Progress:
    return wire.Progress("g0-1", task_id, 1, "worker-1", share)


def shares(due: list[wire.Progress]) -> list[float]:
    return [each.progress for each in due]


def test_the_first_report_is_due_immediately_and_the_next_a_second_later() -> None:
    clock = Clock()
    reports = ProgressReports(lambda: None, clock=clock)

    reports.report(told(0.1))
    first = reports.due()
    clock.now = 0.25
    reports.report(told(0.2))

    assert (shares(first), reports.due(), reports.wait_seconds) == ([0.1], [], 0.75)
    clock.now = 1.0
    assert shares(reports.due()) == [0.2]


def test_the_latest_report_within_a_second_is_sent() -> None:
    clock = Clock()
    reports = ProgressReports(lambda: None, clock=clock)
    reports.report(told(0.1))
    reports.due()

    for share in (0.2, 0.3, 0.4):
        reports.report(told(share))
    clock.now = 1.0

    assert shares(reports.due()) == [0.4]
    assert reports.due() == []


def test_tasks_are_throttled_separately() -> None:
    reports = ProgressReports(lambda: None, clock=Clock())
    reports.report(told(0.1, "g0-1.1.0"))
    reports.due()

    reports.report(told(0.2, "g0-1.2.0"))

    assert shares(reports.due()) == [0.2]


def test_reports_of_a_finished_task_are_dropped() -> None:
    reports = ProgressReports(lambda: None, clock=Clock())
    reports.report(told(0.1))

    reports.forget(["g0-1.1.0"])

    assert (reports.due(), reports.wait_seconds) == ([], float("inf"))


def test_many_reports_wake_the_sender_once() -> None:
    woken: list[bool] = []
    reports = ProgressReports(lambda: woken.append(True), clock=Clock())

    for share in (0.1, 0.2, 0.3):
        reports.report(told(share))

    assert len(woken) == 1


@pytest.mark.parametrize("share", [-0.1, 40, float("nan"), "half", True, None])
def test_invalid_progress_is_rejected(share: Any) -> None:
    with pytest.raises(ValueError, match=f"progress must be a number from 0 to 1, not {share!r}"):
        validated(share, "")


def test_a_message_is_text_of_a_bounded_length_that_can_be_sent() -> None:
    assert validated(1, 3) == (1.0, "3")
    assert len(validated(0, "x" * 2 * MAX_MESSAGE)[1]) == MAX_MESSAGE
    assert validated(0, "half a \ud800")[1] == "half a ?"


@pytest.mark.parametrize("kind", ["work", "sync_work"])
def test_progress_is_sent_while_the_skill_runs(office: Office, run_link: Callable[..., Any], kind: str) -> None:
    worker = Worker()
    go_on = threading.Event()

    @worker.skill()
    async def work(progress: Any) -> None:
        progress(0.4, "two of five")
        await asyncio.to_thread(go_on.wait, DEADLINE_SECONDS)

    @worker.skill()
    def sync_work(progress: Any) -> None:
        progress(0.4, "two of five")
        go_on.wait(DEADLINE_SECONDS)

    run_link(worker)
    office.give({}, task_type=kind)

    [notice] = [each for each in office.notices(2) if isinstance(each, wire.Progress)]
    go_on.set()

    assert notice == wire.Progress("g0-1", "g0-1.0.0", 1, "worker-1", 0.4, "two of five")
    assert office.results(1)[0].status == "success"
