"""Waiting for a time, a decision, or a job of another blueprint."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from avtomatika import Blueprint
from avtomatika.core.blueprint.action_types import AwaitApproval, RunBlueprint, Wait
from avtomatika.core.events import ChildEnded, Decision, Signal, Start, TimeReached
from avtomatika.core.job import Job, JobStatus, Parent
from avtomatika.core.job_request import JobRequest
from avtomatika.core.machine import decisions, machine
from avtomatika.core.machine.children import MAX_DEPTH
from avtomatika.core.machine.creation import new_job
from avtomatika.core.machine.moves import error, quarantine
from avtomatika.core.plan import Plan
from avtomatika.core.rules import Rules
from avtomatika.core.step import SendEvent, SendWebhook, Step
from avtomatika.testing import NEVER_TAKEN, RunResult, run

from ...support.history_replay import replay

WEEK_SECONDS = 7 * 24 * 3600


def kinds(ended: RunResult) -> list[str]:
    return [recorded.entry.event_type for recorded in ended.history]


def replayed(ended: RunResult, bp: Blueprint) -> Job:
    """The job according to its history alone."""
    first = new_job(bp.plan, JobRequest(initial_data=ended.job.initial_data), job_id="test-1", client="testing").job
    return replay(first, [recorded.entry for recorded in ended.history])


class TestWaiting:
    def test_a_week_takes_no_time(self) -> None:
        bp = Blueprint("reminder")

        @bp.handler(is_start=True)
        def start(actions: Any) -> None:
            actions.wait(WEEK_SECONDS, then="done")

        @bp.handler(is_end=True)
        def done() -> str:
            return "remember"

        ended = run(bp)

        assert (ended.status, ended.result, ended.seconds) == ("finished", "remember", WEEK_SECONDS)
        assert kinds(ended) == [
            "job_created",
            "state_entered",
            "timer_set",
            "timer_fired",
            "state_entered",
            "job_finished",
        ]

    @pytest.mark.parametrize("as_text", [False, True])
    def test_until_a_time(self, as_text: bool) -> None:
        bp = Blueprint("reminder")
        time = datetime.now(UTC) + timedelta(days=30)

        @bp.handler(is_start=True)
        def start(actions: Any) -> None:
            actions.wait(until=time.isoformat() if as_text else time, then="done")

        @bp.handler(is_end=True)
        def done() -> None: ...

        ended = run(bp)

        assert ended.status == "finished"
        assert ended.seconds == pytest.approx(30 * 24 * 3600, abs=60)

    def test_a_time_that_is_past_does_not_wait(self) -> None:
        bp = Blueprint("reminder")

        @bp.handler(is_start=True)
        def start(actions: Any) -> None:
            actions.wait(until="2001-01-01T00:00:00Z", then="done")

        @bp.handler(is_end=True)
        def done() -> None: ...

        ended = run(bp)

        assert (ended.status, ended.seconds) == ("finished", 0)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({}, "wait: give either seconds or until"),
            ({"seconds": 1, "until": "2030-01-01T00:00:00Z"}, "wait: give either seconds or until"),
            ({"seconds": -1}, "wait: seconds must be a positive number of seconds or a timedelta, not -1"),
            (
                {"until": "tomorrow"},
                "wait: until must be a datetime, or text like 2030-01-31T12:00:00Z, not 'tomorrow'",
            ),
            ({"until": datetime(2030, 1, 1)}, "wait: until must have a time zone"),
        ],
    )
    def test_what_cannot_be_waited_for_is_named(self, arguments: dict[str, Any], message: str) -> None:
        bp = Blueprint("reminder")

        @bp.handler(is_start=True)
        def start(actions: Any) -> None:
            actions.wait(**dict(arguments), then="done")

        @bp.handler(is_end=True)
        def done() -> None: ...

        ended = run(bp)

        assert ended.status == "error"
        assert ended.error is not None
        assert message in ended.error["message"]


def invoice(timeout: float | None = None, **transitions: str) -> Blueprint:
    bp = Blueprint("invoice")

    @bp.handler(is_start=True, may_go_to=["paid", "refused", "forgotten"])
    def ask(actions: Any) -> None:
        actions.await_human_approval("dashboard", "Pay 40?", dict(transitions), timeout=timeout)

    @bp.handler(is_end=True)
    def paid(approval: dict[str, Any]) -> Any:
        return approval

    @bp.handler(is_end="failed")
    def refused() -> None: ...

    @bp.handler(is_end=True)
    def forgotten() -> str:
        return "nobody said a word"

    return bp


class TestApproval:
    @pytest.mark.parametrize(("decision", "status"), [("approved", "finished"), ("rejected", "failed")])
    def test_leads_where_the_decision_says(self, decision: str, status: str) -> None:
        bp = invoice(approved="paid", rejected="refused")

        ended = run(bp, approvals={"ask": decision})

        assert ended.status == status
        assert kinds(ended)[2:4] == ["approval_requested", decision]

    def test_who_decided_what_stands_in_the_state_history(self) -> None:
        ended = run(invoice(approved="paid"), approvals={"ask": lambda message: "approved"})

        assert ended.result == {"decision": "approved", "by": "testing"}

    def test_words_of_ones_own_are_decisions(self) -> None:
        ended = run(invoice(later="forgotten"), approvals={"ask": "later"})

        assert ended.result == "nobody said a word"
        assert kinds(ended)[3] == "decided"

    def test_waits_for_ever_where_nobody_decides(self) -> None:
        ended = run(invoice(approved="paid"), approvals={"ask": NEVER_TAKEN})

        assert ended.status == "waiting_for_human"

    def test_a_deadline_has_its_own_transition(self) -> None:
        bp = Blueprint("invoice")

        @bp.handler(is_start=True)
        def ask(actions: Any) -> None:
            actions.await_human_approval("mail", "?", {"approved": "paid", "timeout": "forgotten"}, timeout=3600)

        @bp.handler(is_end=True)
        def paid() -> None: ...

        @bp.handler(is_end=True)
        def forgotten(error: Any) -> Any:
            return error["code"]

        ended = run(bp)

        assert (ended.result, ended.seconds) == ("APPROVAL_TIMEOUT", 3600)

    def test_without_one_the_job_fails(self) -> None:
        ended = run(invoice(timeout=60, approved="paid"))

        assert ended.status == "failed"
        assert ended.error == {"code": "APPROVAL_TIMEOUT", "message": "no decision within 60 s"}

    def test_a_timeout_is_no_decision_that_a_person_can_take(self, plan: Plan, pending: Job) -> None:
        job = asked(plan, pending)

        step = machine.advance(plan, job, Decision(job.id, "g0-1.1", "timeout", "me"), queue=None)

        assert step.note is not None
        assert step.note["reason"] == "not a decision here: approved, rejected"

    def test_the_second_decision_changes_nothing(self, plan: Plan, pending: Job) -> None:
        job = asked(plan, pending)
        job = machine.advance(plan, job, Decision(job.id, "g0-1.1", "approved", "me"), queue=None).job

        step = machine.advance(plan, job, Decision(job.id, "g0-1.1", "rejected", "you"), queue=None)

        assert step.note is not None
        assert step.job is job

    def test_a_decision_stops_the_clock(self, plan: Plan, pending: Job) -> None:
        job = asked(plan, pending)

        step = machine.advance(plan, job, Decision(job.id, "g0-1.1", "approved", "me"), queue=None)

        assert step.cancelled_timers == ("g0-1.1:wait",)


def asked(plan: Plan, pending: Job) -> Job:
    begun = machine.advance(plan, pending, Start(pending.id), queue=None).job
    action = AwaitApproval("mail", "?", {"approved": "publish", "rejected": "failed", "timeout": "failed"}, 60)
    return decisions.decide(plan, begun, action, queue=None, patch={}).job


def family(**transitions: str) -> tuple[Blueprint, Blueprint]:
    """A parent that runs a child, which does as its data say."""
    parent, child = Blueprint("parent"), Blueprint("child")

    @parent.handler(is_start=True, may_go_to=["done", "mend"])
    def begin(initial_data: dict[str, Any], actions: Any) -> None:
        actions.run_blueprint("child", initial_data, transitions=dict(transitions))

    @parent.handler(is_end=True)
    def done(state_history: dict[str, Any]) -> Any:
        return state_history

    @parent.handler(is_end=True)
    def mend(error: dict[str, Any]) -> Any:
        return {"mended": error["message"]}

    @child.handler(is_start=True)
    def work(actions: Any) -> None:
        actions.dispatch_task("dig", transitions={"success": "good", "bad": "failed", "lost": "broken"})

    @child.handler(is_end=True)
    def good(depth: int) -> Any:
        return {"depth": depth}

    @child.handler(is_end="failed")
    def failed() -> str:
        return "stones"

    @child.handler
    def broken(actions: Any, nowhere: str) -> None:
        actions.go_to("good")

    return parent, child


class TestChild:
    def test_its_result_reaches_the_parent(self) -> None:
        parent, child = family(success="done", failure="mend")

        ended = run(parent, blueprints=[child], skills={"dig": {"depth": 3}})

        assert ended.result == {"depth": 3}
        assert kinds(ended)[2:4] == ["child_started", "child_finished"]
        assert [each.job.id for each in ended.children] == ["test-1-1"]
        assert ended.job.children == ("test-1-1",)

    def test_knows_its_parent(self) -> None:
        parent, child = family(success="done")

        [born] = run(parent, blueprints=[child], skills={"dig": {"depth": 3}}).children

        assert born.job.parent is not None
        assert (born.job.parent.job_id, born.job.parent.depth) == ("test-1", 1)
        assert born.history[0].entry.data == {"client": "testing", "plan": child.plan.plan_hash, "parent_id": "test-1"}

    @pytest.mark.parametrize(
        ("answer", "status", "message"),
        [
            ({"status": "bad"}, "failed", "job test-1-1 is failed"),
            ({"status": "lost"}, "error", "the parameter 'nowhere' of its handler cannot be injected"),
        ],
    )
    def test_its_failure_takes_the_failure_transition(self, answer: Any, status: str, message: str) -> None:
        parent, child = family(success="done", failure="mend")

        ended = run(parent, blueprints=[child], skills={"dig": answer})

        assert ended.status == "finished"
        assert message in ended.result["mended"]
        assert ended.children[0].status == status

    def test_its_result_and_error_reach_the_parent_when_it_fails(self) -> None:
        parent, child = Blueprint("parent"), Blueprint("child")

        @parent.handler(is_start=True)
        def begin(actions: Any) -> None:
            actions.run_blueprint("child", {}, transitions={"success": "done", "failure": "failed"})

        @parent.handler(is_end=True)
        def done() -> None: ...

        @parent.handler(is_end="failed")
        def failed(reason: str, error: Any) -> Any:
            return {"reason": reason, "code": error["code"]}

        @child.handler(is_start=True)
        def look(actions: Any) -> None:
            actions.dispatch_task("look", transitions={"success": "look_again", "failure": "no_stock"})

        @child.handler
        def look_again(actions: Any) -> None:
            actions.go_to("no_stock")

        @child.handler(is_end="failed")
        def no_stock() -> Any:
            return {"reason": "no stock", "item": 7}

        plain = run(parent, blueprints=[child], skills={"look": {}})
        failure = {"status": "failure", "error": {"code": "INVALID_INPUT_ERROR", "message": "which?"}}
        of_a_task = run(parent, blueprints=[child], skills={"look": failure})

        assert plain.result == {"reason": "no stock", "code": "CHILD_ENDED"}
        assert of_a_task.result == {"reason": "no stock", "code": "INVALID_INPUT_ERROR"}
        assert replayed(plain, parent).state_history == plain.state_history

    def test_its_quarantine_is_told_upwards(self, plan: Plan, pending: Job) -> None:
        begun = machine.advance(plan, pending, Start(pending.id), queue=None).job
        action = RunBlueprint("video", {}, {"success": "publish"})
        waiting = decisions.decide(plan, begun, action, queue=None, patch={}, rules=Rules(plans={"video": plan}))
        parent = waiting.job.evolve(webhook_url="http://shop", parent=Parent("g0-0", "top@0a1b2c3d.start._child", 1))

        resting = quarantine(child_of(waiting).job.evolve(version=4), error("NO_TRANSITION", "it is odd"))
        [sent] = [each for each in resting.outgoing if isinstance(each, SendEvent)]
        told = machine.advance(plan, parent, sent.event, queue=None)

        assert sent.routing_key == f"video@{plan.plan_hash}.start._child"
        assert [entry.event_type for entry in told.history] == ["child_quarantined"]
        [upwards] = [each for each in told.outgoing if isinstance(each, SendEvent)]
        assert upwards.routing_key == "top@0a1b2c3d.start._child"
        [webhook] = [each for each in told.outgoing if isinstance(each, SendWebhook)]
        assert webhook.event == "job.child_quarantined"
        assert webhook.job.error is not None
        assert webhook.job.error["code"] == "CHILD_QUARANTINED"
        assert "is quarantined: it is odd" in webhook.job.error["message"]
        assert (told.job.status, told.job.error, told.job.webhooks) == (JobStatus.WAITING_FOR_CHILD, None, 1)

    def test_a_failure_that_nobody_planned_for_is_quarantined(self) -> None:
        parent, child = family(success="done")

        ended = run(parent, blueprints=[child], skills={"dig": {"status": "bad"}})

        assert ended.status == "quarantined"

    def test_of_a_blueprint_that_is_not_there_is_an_error(self) -> None:
        parent, _ = family(success="done")

        ended = run(parent, skills={})

        assert ended.status == "error"
        assert ended.error == {
            "code": "UNKNOWN_BLUEPRINT",
            "message": "this orchestrator does not serve the blueprint 'child'; it serves: parent",
        }

    def test_generations_come_to_an_end(self) -> None:
        bp = Blueprint("matryoshka")

        @bp.handler(is_start=True)
        def begin(actions: Any) -> None:
            actions.run_blueprint("matryoshka", {}, transitions={"success": "done", "failure": "failed"})

        @bp.handler(is_end=True)
        def done() -> None: ...

        @bp.handler(is_end="failed")
        def failed(error: Any) -> None: ...

        ended = run(bp)

        generations, last = 1, ended
        while last.children:
            generations, last = generations + 1, last.children[0]
        assert generations == MAX_DEPTH + 1
        assert last.error is not None
        assert last.error["code"] == "TOO_DEEP"
        assert ended.status == "failed"

    def test_hears_that_its_parent_was_cancelled(self, plan: Plan, pending: Job) -> None:
        begun = machine.advance(plan, pending, Start(pending.id), queue=None).job
        action = RunBlueprint("video", {}, {"success": "publish"})
        rules = Rules(plans={"video": plan})
        waiting = decisions.decide(plan, begun, action, queue=None, patch={}, rules=rules)

        step = machine.advance(plan, waiting.job, Signal("g0-1", "cancel", by="me", token="t"), queue=None)

        [sent] = [each for each in step.outgoing if isinstance(each, SendEvent)]
        assert sent.routing_key == f"video@{plan.plan_hash}.start._signal"
        assert isinstance(sent.event, Signal)
        assert (sent.event.job_id, sent.event.wish) == ("g0-1-1", "cancel")

    def test_a_cancelled_one_tells_its_parent(self, plan: Plan, pending: Job) -> None:
        begun = machine.advance(plan, pending, Start(pending.id), queue=None).job
        action = RunBlueprint("video", {}, {"success": "publish", "cancelled": "failed"})
        waiting = decisions.decide(plan, begun, action, queue=None, patch={}, rules=Rules(plans={"video": plan}))
        child = child_of(waiting).job

        cancelled = machine.advance(plan, child, Signal(child.id, "cancel", by="me", token="t"), queue=None)
        [told] = cancelled.outgoing
        assert isinstance(told, SendEvent)
        after = machine.advance(plan, waiting.job, told.event, queue=None)

        assert told.routing_key == f"video@{plan.plan_hash}.start._child"
        assert told.event == ChildEnded("g0-1", "g0-1-1", "cancelled")
        assert after.enter == "failed"


def child_of(step: Step) -> Step:
    assert step.children
    return step.children[0]


@pytest.mark.parametrize("status", [JobStatus.WAITING_FOR_TIMER, JobStatus.WAITING_FOR_HUMAN])
def test_what_came_too_late_is_noted(plan: Plan, pending: Job, status: JobStatus) -> None:
    begun = machine.advance(plan, pending, Start(pending.id), queue=None).job
    action = (
        Wait("publish", seconds=5)
        if status is JobStatus.WAITING_FOR_TIMER
        else AwaitApproval("a", "b", {"c": "publish"})
    )
    job = decisions.decide(plan, begun, action, queue=None, patch={}).job

    step = machine.advance(plan, job, TimeReached(job.id, "g0-1.99"), queue=None)

    assert job.status is status
    assert step.note is not None
    assert step.note["reason"] == "the job does not wait for this time any more"


def test_the_history_alone_tells_how_it_went() -> None:
    parent, child = family(success="done")
    cases: list[tuple[Blueprint, RunResult]] = [
        (parent, run(parent, blueprints=[child], skills={"dig": {"depth": 3}})),
        (bp := invoice(approved="paid"), run(bp, approvals={"ask": "approved"})),
        (bp := invoice(approved="paid"), run(bp, approvals={})),
    ]

    for bp, ended in cases:
        told = replayed(ended, bp)
        assert (told.status, told.current_state) == (ended.status, ended.job.current_state)
        assert told.state_history == ended.state_history
