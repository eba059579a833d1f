"""Tasks that fail through a fault of their worker: they are routed to another one, and no attempt is counted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from avtomatika.core.blueprint.action_types import DispatchTask, GoTo
from avtomatika.core.events import PlaceTask, Result, Start
from avtomatika.core.job import Job, JobStatus
from avtomatika.core.machine import decisions, machine, placement as placing
from avtomatika.core.placement.selection import Candidate, Needs, NoCandidate, Unfit, choose, nearest
from avtomatika.core.plan import Plan
from avtomatika.core.step import SendEvent, Step

TASK = "g0-1.1.0"
FIRST, SECOND = (Candidate(worker_id=name, skills=frozenset({"encode"})) for name in ("w-1", "w-2"))
UNFIT = replace(FIRST, unfit=Unfit("the server does not know S3_ACCESS_KEY", frozenset({"encode"})))
PROBE = {"check": "read", "uri": "s3://raw/a.txt"}


@pytest.fixture
def waiting(plan: Plan, pending: Job) -> Job:
    begun = machine.advance(plan, pending, Start(pending.id), queue=None).job
    ready = decisions.decide(plan, begun, GoTo("encode"), queue=None, patch={}).job
    action = DispatchTask("encode", {}, {"success": "publish", "failure": "failed"}, max_retries=0)
    return decisions.decide(plan, ready, action, queue=None, patch={}).job


def refused(plan: Plan, job: Job, worker_id: str = "w-1", *, probe: Any = PROBE, code: str = "TRANSIENT_ERROR") -> Step:
    error = {"code": code, "message": "access denied", "worker_fault": {"probe": probe}}
    result = Result("g0-1", TASK, job.tasks[TASK].attempt, "failure", error=error, worker_id=worker_id)
    return machine.advance(plan, job, result, queue=None)


def look(job: Job, *fleet: Candidate, **fields: Any) -> Any:
    return placing.look(job, PlaceTask("g0-1", TASK, job.tasks[TASK].attempt, **fields), taken_by=None, fleet=fleet)


def test_it_goes_to_another_worker_without_an_attempt_that_counts(plan: Plan, waiting: Job) -> None:
    step = refused(plan, waiting)

    task = step.job.tasks[TASK]
    assert (task.attempt, task.max_retries, task.is_open) == (2, 1, True)
    assert [entry.event_type for entry in step.history] == ["task_failed", "task_dispatched"]
    assert [sent.event for sent in step.outgoing if isinstance(sent, SendEvent)] == [PlaceTask("g0-1", TASK, 2)]
    assert (step.closed, step.opened) == (((TASK, 1),), ((TASK, 2),))
    assert look(step.job, FIRST, SECOND) == SECOND


def test_it_waits_while_the_only_worker_is_unfit_and_says_why(plan: Plan, waiting: Job) -> None:
    job = refused(plan, waiting).job

    found = look(job, UNFIT)

    assert found == NoCandidate(
        "none of 1 with the skill 'encode' fits: is unfit: the server does not know S3_ACCESS_KEY (1), "
        "has refused the task (1)"
    )


def test_a_worker_whose_fault_may_have_passed_is_asked_again_later(plan: Plan, waiting: Job) -> None:
    job = refused(plan, waiting).job

    assert isinstance(look(job, FIRST), NoCandidate)
    assert look(job, FIRST, visit=3) == FIRST
    assert isinstance(look(job, UNFIT, visit=3), NoCandidate)


def test_a_task_that_every_worker_refuses_has_failed(plan: Plan, waiting: Job) -> None:
    job = refused(plan, refused(plan, waiting, probe=None).job, "w-2", probe=None).job
    found = look(job, FIRST, SECOND)

    step = machine.advance(plan, job, PlaceTask("g0-1", TASK, 3, choice=found), queue=None)

    assert found.is_final
    assert step.enter == "failed"
    assert step.job.error is not None
    assert step.job.error["code"] == "INVALID_INPUT_ERROR"
    assert step.job.error["message"].startswith("access denied; none of 2 with the skill 'encode' fits")
    assert step.job.status is JobStatus.RUNNING


def test_a_task_that_every_worker_refuses_for_lack_of_settings_is_quarantined(plan: Plan, waiting: Job) -> None:
    without_failure = replace(waiting.tasks[TASK], transitions={"success": "publish"})
    waiting = replace(waiting, tasks={TASK: without_failure})
    job = refused(plan, waiting, probe=None, code="WORKER_SETTINGS_ERROR").job

    step = machine.advance(plan, job, PlaceTask("g0-1", TASK, 2, choice=look(job, FIRST)), queue=None)

    assert step.job.error is not None
    assert step.job.error["code"] == "WORKER_SETTINGS_ERROR"
    assert step.job.status is JobStatus.QUARANTINED


@pytest.mark.parametrize("other", [replace(SECOND, is_standby=True), UNFIT])
def test_it_is_not_given_up_while_there_is_one_that_has_not_refused_it(
    plan: Plan, waiting: Job, other: Candidate
) -> None:
    other = replace(other, worker_id="w-2")
    job = refused(plan, waiting, probe=None).job

    assert look(job, FIRST, other).is_final is other.is_standby


def test_faults_without_end_count_as_failures_at_last(plan: Plan, waiting: Job) -> None:
    job = waiting
    for _ in range(199):
        job = refused(plan, job).job

    assert refused(plan, job).enter == "failed"


def test_an_unfit_worker_is_not_chosen() -> None:
    assert choose(Needs(), "encode", [UNFIT, SECOND]) == SECOND
    assert nearest(frozenset({"a"}), "encode", [replace(UNFIT, cached_files=frozenset({"a"}))]) is None
