"""Tasks with requirements: routed, routed again, waiting, and their history."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from avtomatika.core.blueprint.action_types import DispatchTask, FanOut, GoTo
from avtomatika.core.blueprint.actions import Actions
from avtomatika.core.events import PlaceTask, Result, RetryTask, Start
from avtomatika.core.job import Job, Task
from avtomatika.core.machine import decisions, machine, placement as placing
from avtomatika.core.placement.selection import Candidate, Needs, NoCandidate, Strategy
from avtomatika.core.plan import Plan
from avtomatika.core.step import SendEvent, SendTask, Step
from avtomatika.errors import HandlerError

TASK = "g0-1.1.0"
NEEDS = Needs(Strategy.ROUND_ROBIN, {"ram_gb": 8})
FIRST, SECOND = (
    Candidate(worker_id=worker_id, skills=frozenset({"encode"}), properties={"ram_gb": 8})
    for worker_id in ("w-1", "w-2")
)


@pytest.fixture
def waiting(plan: Plan, pending: Job) -> Step:
    """The step that dispatched the task."""
    begun = machine.advance(plan, pending, Start(pending.id), queue=None).job
    ready = decisions.decide(plan, begun, GoTo("encode"), queue=None, patch={}).job
    transitions = {"success": "publish", "failure": "failed"}
    action = DispatchTask("encode", {}, transitions, max_retries=2, dispatch_timeout_seconds=60, needs=NEEDS)
    return decisions.decide(plan, ready, action, queue=None, patch={})


def place(plan: Plan, job: Job, choice: Candidate | NoCandidate | None, **fields: Any) -> Step:
    event = PlaceTask("g0-1", TASK, **{"attempt": job.tasks[TASK].attempt, "choice": choice, **fields})
    return machine.advance(plan, job, event, queue=None)


def sent_tasks(step: Step) -> list[Task]:
    return [sent.task for sent in step.outgoing if isinstance(sent, SendTask)]


def events(step: Step) -> list[Any]:
    return [sent.event for sent in step.outgoing if isinstance(sent, SendEvent)]


def test_a_task_that_asks_for_something_is_not_sent_before_somebody_was_chosen(plan: Plan, waiting: Step) -> None:
    assert sent_tasks(waiting) == []
    assert events(waiting) == [PlaceTask("g0-1", TASK, attempt=1)]
    assert [sent.routing_key for sent in waiting.outgoing] == [plan.key("encode", "_retry")]  # type: ignore[union-attr]
    assert waiting.opened == ((TASK, 1),)


def test_it_is_sent_to_the_one_that_was_chosen_and_looked_at_again(plan: Plan, waiting: Step) -> None:
    step = place(plan, waiting.job, FIRST, visit=3, waited=3)

    assert [task.worker_id for task in sent_tasks(step)] == ["w-1"]
    assert events(step) == [PlaceTask("g0-1", TASK, attempt=1, visit=4)]
    [entry] = step.history
    assert (entry.event_type, entry.worker_id, entry.data) == ("task_routed", "w-1", {"strategy": "round_robin"})
    assert step.job.tasks[TASK].worker_id == "w-1"
    assert (step.opened, step.closed) == ((), ())


def test_where_nobody_fits_it_waits_and_says_what_is_missing(plan: Plan, waiting: Step) -> None:
    step = place(plan, waiting.job, NoCandidate("more memory"))

    assert sent_tasks(step) == []
    assert events(step) == [PlaceTask("g0-1", TASK, attempt=1, visit=1)]
    assert [(entry.event_type, entry.data) for entry in step.history] == [("task_waiting", {"missing": "more memory"})]
    assert step.job.tasks[TASK].missing == "more memory"
    assert place(plan, step.job, FIRST, visit=1).job.tasks[TASK].missing is None


def test_one_that_fails_its_task_loses_it_with_the_attempt(plan: Plan, waiting: Step) -> None:
    routed = place(plan, waiting.job, FIRST).job
    step = place(plan, routed, SECOND, visit=9)

    task = step.job.tasks[TASK]
    assert (task.worker_id, task.attempt, task.max_retries) == ("w-2", 2, 3)
    assert [(entry.event_type, entry.worker_id) for entry in step.history] == [
        ("task_rerouted", "w-1"),
        ("task_routed", "w-2"),
    ]
    assert (step.closed, step.opened) == (((TASK, 1),), ((TASK, 2),))
    assert step.revoked == ("g0-1.1.0/1",)
    assert task.groups == "g0-1.1 g0-1.1.0/2"
    assert [timer.id for timer in step.timers] == [f"{TASK}:dispatch"]
    assert events(step) == [PlaceTask("g0-1", TASK, attempt=2, visit=10)]
    late = machine.advance(plan, step.job, Result("g0-1", TASK, 1, "success", worker_id="w-1"), queue=None)
    assert late.note is not None


def test_one_that_fails_its_task_where_nobody_else_fits_leaves_it_waiting(plan: Plan, waiting: Step) -> None:
    step = place(plan, place(plan, waiting.job, FIRST).job, NoCandidate("anybody"))

    task = step.job.tasks[TASK]
    assert (task.worker_id, task.attempt, task.missing) == (None, 2, "anybody")
    assert [entry.event_type for entry in step.history] == ["task_rerouted", "task_waiting"]


def test_without_a_fleet_it_is_for_anybody(plan: Plan, waiting: Step) -> None:
    step = place(plan, waiting.job, None)

    assert [(task.needs, task.worker_id) for task in sent_tasks(step)] == [(None, None)]
    assert events(step) == []


def test_a_retry_is_chosen_for_anew(plan: Plan, waiting: Step) -> None:
    routed = place(plan, waiting.job, FIRST).job
    failed = Result("g0-1", TASK, 1, "failure", error={"code": "TRANSIENT_ERROR", "message": "x"}, worker_id="w-1")
    retrying = machine.advance(plan, routed, failed, queue=None).job

    step = machine.advance(plan, retrying, RetryTask("g0-1", TASK, 2), queue=None)

    assert sent_tasks(step) == []
    assert events(step) == [PlaceTask("g0-1", TASK, attempt=2)]
    assert step.job.tasks[TASK].worker_id is None


def test_branches_are_chosen_for_one_by_one(plan: Plan, pending: Job) -> None:
    begun = machine.advance(plan, pending, Start(pending.id), queue=None).job
    ready = decisions.decide(plan, begun, GoTo("encode"), queue=None, patch={}).job
    branch = DispatchTask("encode", {}, {"success": "review"}, needs=NEEDS)
    fan_out = decisions.decide(
        plan, ready, FanOut((branch, replace(branch, needs=None)), "review"), queue=None, patch={}
    )

    step = machine.advance(plan, fan_out.job, PlaceTask("g0-1", "g0-1.1.1", 1, choice=FIRST), queue=None)

    assert [task.id for task in sent_tasks(fan_out)] == ["g0-1.1.2"]
    assert events(fan_out) == [PlaceTask("g0-1", "g0-1.1.1", attempt=1)]
    assert [(task.id, task.worker_id) for task in sent_tasks(step)] == [("g0-1.1.1", "w-1")]


class TestLook:
    def look(self, job: Job, *fleet: Candidate, taken_by: str | None = None, **fields: Any) -> Any:
        event = PlaceTask("g0-1", TASK, **{"attempt": job.tasks[TASK].attempt, **fields})
        return placing.look(job, event, taken_by=taken_by, fleet=fleet)

    def test_chooses_for_one_that_nobody_has(self, waiting: Step) -> None:
        assert self.look(waiting.job, SECOND, FIRST) == FIRST
        assert isinstance(self.look(waiting.job), NoCandidate)

    def test_leaves_it_with_one_that_has_begun(self, plan: Plan, waiting: Step) -> None:
        routed = place(plan, waiting.job, FIRST).job

        assert self.look(routed, FIRST, SECOND, taken_by="w-1", waited=100) == placing.Look.KEEP

    def test_gives_one_that_has_not_begun_some_time(self, plan: Plan, waiting: Step) -> None:
        routed = place(plan, waiting.job, FIRST).job

        assert self.look(routed, FIRST, SECOND, waited=placing.TAKEN_WITHIN_VISITS - 1) == placing.Look.KEEP
        assert self.look(routed, FIRST, SECOND, waited=placing.TAKEN_WITHIN_VISITS) == SECOND
        assert self.look(routed, FIRST, waited=placing.TAKEN_WITHIN_VISITS) == FIRST

    def test_takes_it_from_one_that_is_not_there_any_more(self, plan: Plan, waiting: Step) -> None:
        routed = place(plan, waiting.job, FIRST).job

        assert self.look(routed, SECOND, taken_by="w-1") == SECOND
        assert isinstance(self.look(routed, taken_by="w-1"), NoCandidate)

    def test_says_what_is_missing_when_that_changed_and_not_too_often(self, plan: Plan, waiting: Step) -> None:
        small = replace(FIRST, properties={"ram_gb": 4})
        missing = self.look(waiting.job, small).missing
        told = place(plan, waiting.job, NoCandidate(missing)).job

        assert self.look(told, small, visit=12) == placing.Look.KEEP
        assert self.look(told, visit=11) == placing.Look.KEEP
        assert isinstance(self.look(told, visit=12), NoCandidate)
        assert self.look(told, FIRST, visit=11) == FIRST

    def test_is_done_with_one_that_nobody_waits_for(self, waiting: Step) -> None:
        assert self.look(waiting.job, FIRST, attempt=2) == placing.Look.DONE
        assert placing.look(waiting.job, PlaceTask("g0-1", "g0-1.9.0", 1), taken_by=None, fleet=()) == placing.Look.DONE


class TestArguments:
    def dispatch(self, **options: Any) -> Any:
        recorder = Actions()
        recorder.dispatch_task("encode", {}, {"success": "publish"}, **options)
        return recorder._recorded[0]

    def test_asking_nothing_is_no_need(self) -> None:
        assert self.dispatch().needs is None

    def test_each_of_the_three_is_a_need(self) -> None:
        assert self.dispatch(dispatch_strategy="cheapest").needs == Needs(Strategy.CHEAPEST)
        assert self.dispatch(max_cost=0).needs == Needs(max_cost=0)
        assert self.dispatch(resource_requirements={"gpu": 1}).needs == Needs(requirements={"gpu": 1})

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"dispatch_strategy": "random"}, "dispatch_strategy must be one of round_robin, .*, not 'random'"),
            ({"dispatch_strategy": ["cheapest"]}, "dispatch_strategy must be one of"),
            ({"max_cost": -1}, "max_cost must be a number of at least 0, not -1"),
            ({"max_cost": True}, "max_cost must be a number of at least 0"),
            ({"max_cost": float("nan")}, "max_cost must be a number of at least 0"),
            ({"resource_requirements": ["gpu"]}, "resource_requirements must be a dict"),
            ({"resource_requirements": {"devices": {"type": "gpu"}}}, "devices must be a list of dicts"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(HandlerError, match=message):
            self.dispatch(**options)

    def test_a_branch_may_ask_for_something_too(self) -> None:
        recorder = Actions()
        recorder.dispatch_parallel([{"type": "encode", "max_cost": 2}], aggregate_into="publish")

        assert recorder._recorded[0].branches[0].needs == Needs(max_cost=2)  # type: ignore[union-attr]
