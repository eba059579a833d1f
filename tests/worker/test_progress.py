from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from avtomatika import Worker
from avtomatika.schemas import wire
from avtomatika.worker.progress import MAX_MESSAGE, Reports, checked

from .conftest import DEADLINE_SECONDS, Office


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def told(share: float, task_id: str = "g0-1.1.0") -> wire.Progress:
    return wire.Progress("g0-1", task_id, 1, "worker-1", share)


def shares(due: list[wire.Progress]) -> list[float]:
    return [each.progress for each in due]


def test_the_first_word_is_due_at_once_and_the_next_a_second_later() -> None:
    clock = Clock()
    reports = Reports(lambda: None, clock=clock)

    reports.tell(told(0.1))
    first = reports.due()
    clock.now = 0.25
    reports.tell(told(0.2))

    assert (shares(first), reports.due(), reports.wait_seconds) == ([0.1], [], 0.75)
    clock.now = 1.0
    assert shares(reports.due()) == [0.2]


def test_of_what_a_task_tells_in_a_second_the_last_counts() -> None:
    clock = Clock()
    reports = Reports(lambda: None, clock=clock)
    reports.tell(told(0.1))
    reports.due()

    for share in (0.2, 0.3, 0.4):
        reports.tell(told(share))
    clock.now = 1.0

    assert shares(reports.due()) == [0.4]
    assert reports.due() == []


def test_tasks_do_not_wait_for_each_other() -> None:
    reports = Reports(lambda: None, clock=Clock())
    reports.tell(told(0.1, "g0-1.1.0"))
    reports.due()

    reports.tell(told(0.2, "g0-1.2.0"))

    assert shares(reports.due()) == [0.2]


def test_nothing_is_heard_of_a_task_that_has_ended() -> None:
    reports = Reports(lambda: None, clock=Clock())
    reports.tell(told(0.1))

    reports.forget(["g0-1.1.0"])

    assert (reports.due(), reports.wait_seconds) == ([], float("inf"))


def test_whoever_sends_is_woken_once_for_many_words() -> None:
    woken: list[bool] = []
    reports = Reports(lambda: woken.append(True), clock=Clock())

    for share in (0.1, 0.2, 0.3):
        reports.tell(told(share))

    assert len(woken) == 1


@pytest.mark.parametrize("share", [-0.1, 40, float("nan"), "half", True, None])
def test_what_is_no_share_is_refused_by_its_value(share: Any) -> None:
    with pytest.raises(ValueError, match=f"progress is a number from 0 to 1, not {share!r}"):
        checked(share, "")


def test_a_message_is_text_of_a_bounded_length_that_can_be_sent() -> None:
    assert checked(1, 3) == (1.0, "3")
    assert len(checked(0, "x" * 2 * MAX_MESSAGE)[1]) == MAX_MESSAGE
    assert checked(0, "half a \ud800")[1] == "half a ?"


@pytest.mark.parametrize("kind", ["work", "sync_work"])
def test_orchestrators_hear_what_a_skill_tells_while_it_runs(
    office: Office, run_link: Callable[..., Any], kind: str
) -> None:
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

    [_, notice] = office.notices(2)
    go_on.set()

    assert notice == wire.Progress("g0-1", "g0-1.0.0", 1, "worker-1", 0.4, "two of five")
    assert office.results(1)[0].status == "success"
