"""The explanation of what a paused job waits for."""

from __future__ import annotations

from typing import Any

import pytest

from avtomatika.core.explain.waiting import WaitView, waiting_for
from avtomatika.core.job import Job, JobStatus, WaitRecord


def pausing(kind: Any, status: JobStatus, **details: Any) -> Job:
    wait = WaitRecord(kind, "g0-1.2", "here", {"approved": "on", "timeout": "off"}, details)
    return Job("g0-1", "any", "0a1b2c3d", status, wait=wait, updated_ms=1_000_000)


def test_a_time_is_told_however_it_was_given() -> None:
    by_seconds = pausing("timer", JobStatus.WAITING_FOR_TIMER, seconds=2.5)
    by_time = pausing("timer", JobStatus.WAITING_FOR_TIMER, until_ms=7_000_000)

    assert waiting_for(by_seconds) == WaitView(kind="timer", since_ms=1_000_000, until_ms=1_002_500)
    assert waiting_for(by_time) == WaitView(kind="timer", since_ms=1_000_000, until_ms=7_000_000)


@pytest.mark.parametrize(("limit", "until_ms"), [({}, None), ({"timeout_seconds": 60}, 1_060_000)])
def test_an_approval_is_told_with_its_question_and_its_decisions(limit: dict[str, int], until_ms: int | None) -> None:
    job = pausing("approval", JobStatus.WAITING_FOR_HUMAN, integration="mail", message="Publish it?", **limit)

    waiting = waiting_for(job)

    assert waiting == WaitView(
        kind="approval",
        since_ms=1_000_000,
        until_ms=until_ms,
        integration="mail",
        message="Publish it?",
        decisions=["approved"],
    )


def test_a_child_is_told_by_its_id() -> None:
    job = pausing("child", JobStatus.WAITING_FOR_CHILD, child_id="g0-2", signal_key="child@0a1b2c3d.start._signal")

    assert waiting_for(job) == WaitView(kind="child", since_ms=1_000_000, child_id="g0-2")


def test_a_job_without_a_pause_waits_for_nothing_of_the_kind() -> None:
    assert waiting_for(Job("g0-1", "any", "0a1b2c3d", JobStatus.WAITING_FOR_WORKER)) is None
