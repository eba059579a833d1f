"""Jobs of an earlier plan: states that the new plan must have, and the migration."""

from __future__ import annotations

from typing import Any

import pytest

from avtomatika import Blueprint
from avtomatika.core.events import DeadlineExceeded, Enter, Event, Result, RetryTask, Signal, Start, TimeReached
from avtomatika.core.job import Branches, Job, JobStatus, Task, WaitRecord
from avtomatika.core.machine import plan_migration
from avtomatika.core.plan import Plan

from ..conftest import ORDER

PLAN = ORDER.plan


def job(**fields: Any) -> Job:
    usual = {"plan_hash": "0ldp1an0", "current_state": "check", "status": JobStatus.WAITING_FOR_WORKER}
    return Job("g0-1", "order", **{**usual, **fields})


def task(state: str = "check", **transitions: str) -> dict[str, Task]:
    return {"g0-1.1.0": Task("g0-1.1.0", "check_stock", state, transitions or {"success": "pay"})}


@pytest.mark.parametrize(
    ("before", "missing"),
    [
        (job(tasks=task()), ()),
        (job(tasks=task(sold_out="reorder", timeout="failed")), ()),
        (job(tasks=task(odd="pay")), ("outcome 'odd' of 'check'",)),
        (job(tasks=task(success="gone")), ("state 'gone'",)),
        (job(current_state="gone"), ("state 'gone'",)),
        (job(current_state="gone", status=JobStatus.FINISHED), ()),
        (job(current_state="gone", status=JobStatus.PENDING), ()),
        (job(tasks=task("reorder")), ("outcome 'success' of 'reorder'",)),
        (job(fan_out=Branches(1, "pack", "label", 3, 3)), ()),
        (job(fan_out=Branches(1, "pack", "sent", 3, 3)), ("aggregator 'sent'",)),
        (job(wait=WaitRecord("timer", "t", "reorder", {"elapsed": "check"})), ()),
        (job(wait=WaitRecord("approval", "t", "review", {"approved": "gone", "rejected": "gone"})), ("state 'gone'",)),
    ],
    ids=str,
)
def test_what_is_missing_is_named(before: Job, missing: tuple[str, ...]) -> None:
    assert plan_migration.missing(PLAN, before) == missing


def test_a_retired_state_lacks_nothing_that_its_tasks_answer() -> None:
    bp = Blueprint("order")

    @bp.handler(is_start=True)
    def begin(actions: Any) -> None:
        actions.go_to("pay")

    @bp.handler(is_end=True)
    def pay() -> None: ...

    @bp.handler(retired=True)
    def check(actions: Any) -> None:
        actions.go_to("pay")

    before = job(tasks=task(success="check", odd="pay"))
    step = plan_migration.advance(bp.plan, before, Result("g0-1", "g0-1.1.0", 1, "odd"), queue=None)

    assert plan_migration.missing(bp.plan, before) == ()
    assert (step.job.plan_hash, step.enter) == (bp.plan.plan_hash, "pay")


def advanced(before: Job, event: Event) -> plan_migration.Step:
    return plan_migration.advance(PLAN, before, event, queue=None)


def test_a_job_changes_over_with_what_happens_next() -> None:
    step = advanced(job(tasks=task()), Result("g0-1", "g0-1.1.0", 1, "success"))

    assert [entry.event_type for entry in step.history] == ["plan_changed", "task_succeeded"]
    assert step.history[0].data == {"old_plan": "0ldp1an0", "new_plan": PLAN.plan_hash}
    assert (step.job.plan_hash, step.job.earlier_plans, step.enter) == (PLAN.plan_hash, ("0ldp1an0",), "pay")


def test_nothing_changes_over_when_nothing_happens() -> None:
    before = job(tasks=task())

    step = advanced(before, TimeReached("g0-1", "no such time"))

    assert step.note is not None
    assert (step.job, step.history) == (before, ())


def test_a_job_of_this_plan_is_the_machines() -> None:
    step = advanced(job(plan_hash=PLAN.plan_hash, tasks=task()), Result("g0-1", "g0-1.1.0", 1, "success"))

    assert [entry.event_type for entry in step.history] == ["task_succeeded"]
    assert step.job.earlier_plans == ()


def test_one_that_has_not_begun_begins_where_the_plan_begins() -> None:
    step = advanced(job(current_state="gone", status=JobStatus.PENDING), Start("g0-1"))

    assert step.enter == PLAN.start


def test_one_that_goes_back_and_forth_remembers_each_plan_once() -> None:
    there = plan_migration.migrate(PLAN, job(earlier_plans=(PLAN.plan_hash, "0lder")))

    assert there.job.earlier_plans == ("0lder", "0ldp1an0")


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (Enter("g0-1", "gone", 0), "quarantined"),
        (Signal("g0-1", "cancel", by="me", token="1"), "cancelled"),
        (Signal("g0-1", "retry", by="me", token="1"), "quarantined"),
        (DeadlineExceeded("g0-1"), "failed"),
    ],
    ids=str,
)
def test_one_that_cannot_go_on_rests_or_ends(event: Event, status: str) -> None:
    step = advanced(job(current_state="gone", status=JobStatus.RUNNING), event)

    assert step.job.status == status
    assert step.job.plan_hash == "0ldp1an0", "another plan may still go on with it"
    assert step.enter is None


def test_one_that_rests_already_hears_nothing_but_signals() -> None:
    resting = job(current_state="gone", status=JobStatus.QUARANTINED)

    assert advanced(resting, Enter("g0-1", "gone", 0)).note is not None
    assert advanced(resting, Signal("g0-1", "retry", by="me", token="1")).history[0].event_type == "job_quarantined"


def test_a_plan_has_all_that_its_own_jobs_need(plan: Plan) -> None:
    assert (
        plan_migration.missing(plan, Job("g0-1", "video", "x", current_state="encode", status=JobStatus.RUNNING)) == ()
    )


def test_a_branch_that_nobody_had_looked_at_is_looked_at_when_it_is_tried_again() -> None:
    def branch(**more: str) -> dict[str, Task]:
        transitions = {"success": "label", **more}
        return {"g0-1.1.2": Task("g0-1.1.2", "pack_item", "pack", transitions, attempt=2, is_open=False)}

    before = job(
        plan_hash=PLAN.plan_hash,
        earlier_plans=("0ldp1an0",),
        current_state="pack",
        status=JobStatus.WAITING_FOR_PARALLEL,
        fan_out=Branches(1, "pack", "label", 3, 3),
    )
    again = RetryTask("g0-1", "g0-1.1.2", 2)

    fine = advanced(before.evolve(tasks=branch()), again)
    odd = advanced(before.evolve(tasks=branch(odd="sent")), again)

    assert [entry.event_type for entry in fine.history] == ["task_dispatched"]
    assert odd.job.error is not None
    assert odd.job.error["missing"] == ["outcome 'odd' of 'pack'"]
    assert odd.job.status == "quarantined"
