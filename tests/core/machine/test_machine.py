"""The state machine: every pair of status and event, and the effect of each event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any, get_args

import pytest

from avtomatika.core.blueprint.action_types import DispatchTask, End, FanOut, GoTo
from avtomatika.core.events import (
    CancelChildren,
    ChildEnded,
    ChildQuarantined,
    DeadLetter,
    DeadlineExceeded,
    Decision,
    Enter,
    Event,
    Joined,
    NextBranches,
    PlaceTask,
    Result,
    RetryHandler,
    RetryTask,
    Signal,
    SignalReceived,
    Start,
    TaskTimeout,
    TimeReached,
)
from avtomatika.core.job import HistoryEntry, Job, JobStatus, Task
from avtomatika.core.job_request import JobRequest
from avtomatika.core.machine import decisions, machine
from avtomatika.core.machine.creation import new_job
from avtomatika.core.plan import Plan
from avtomatika.core.rules import Rules
from avtomatika.core.step import SendEvent, SendTask, SetTimer, Step

TASK = "g0-1.1.0"
ALL = {"success": "publish", "failure": "failed", "needs_review": "review", "timeout": "review", "cancelled": "review"}


def to_encode(plan: Plan, pending: Job) -> Job:
    """*pending* on its way into ``encode``."""
    begun = machine.advance(plan, pending, Start(pending.id), queue=None).job
    return decisions.decide(plan, begun, GoTo("encode"), queue=None, patch={}).job


def to_worker(plan: Plan, pending: Job, transitions: Mapping[str, str] = ALL, **options: Any) -> Job:
    """*pending* as it waits for the first attempt of its first task, ``g0-1.1.0``."""
    action = DispatchTask("encode", {"input": "a.mov"}, transitions, **options)
    return decisions.decide(plan, to_encode(plan, pending), action, queue=None, patch={}).job


def result(status: str = "success", *, attempt: int = 1, code: str | None = None, data: Any = None) -> Result:
    error = None if code is None else {"code": code, "message": "it says so"}
    return Result("g0-1", TASK, attempt, status, data=data, error=error, worker_id="w-1", duration_ms=40)


def kinds(step: Step) -> list[str]:
    return [entry.event_type for entry in step.history]


@pytest.fixture
def waiting(plan: Plan, pending: Job) -> Job:
    return to_worker(plan, pending)


EVENTS: tuple[Event, ...] = (
    Start("g0-1"),
    Enter("g0-1", "encode", transition=1),
    result(),
    RetryTask("g0-1", TASK, attempt=1),
    PlaceTask("g0-1", TASK, attempt=1),
    TaskTimeout("g0-1", TASK, attempt=1, which="result"),
    RetryHandler("g0-1", "encode", transition=1, failures=1),
    DeadlineExceeded("g0-1"),
    DeadLetter("g0-1", "dead_letter", state="encode", task_id=TASK, attempt=1),
    DeadLetter("g0-1", "dead_letter", state="encode"),
    Joined("g0-1", step=1),
    NextBranches("g0-1", step=1, sent=1000),
    CancelChildren("g0-1", step=1, first=1, last=1000),
    TimeReached("g0-1", token="g0-1.1"),
    Decision("g0-1", token="g0-1.1", decision="approved", by="me"),
    SignalReceived("g0-1", token="5a1f"),
    ChildEnded("g0-1", child_id="g0-1-1", status="finished", result={"url": "x"}),
    ChildQuarantined("g0-1", child_id="g0-1-1", number=3, error={"code": "X", "message": "x"}),
    Signal("g0-1", "cancel", by="me", token="t1"),
    Signal("g0-1", "retry", by="me", token="t2"),
)


PAIRS = list(product(JobStatus, EVENTS))


class TestEveryPair:
    """Every event is handled in every status."""

    def test_all_events_are_here(self) -> None:
        assert {type(event) for event in EVENTS} == set(get_args(Event))

    @pytest.mark.parametrize(("status", "event"), PAIRS, ids=str)
    @pytest.mark.parametrize("queue", [None, "the queue of no state"])
    def test_has_an_answer(self, plan: Plan, status: JobStatus, event: Event, queue: str | None) -> None:
        task = Task(TASK, "encode", "encode", ALL)
        job = Job("g0-1", "video", plan.plan_hash, status, "encode", version=7, tasks={TASK: task}, transitions=1)

        step = machine.advance(plan, job, event, queue=queue)

        assert step.job.version == 7
        assert step.job.id == job.id
        if step.note is not None:
            assert step == Step(job, note=step.note)
            assert step.note["event_type"].endswith("_ignored")
            assert step.note["reason"]
        else:
            assert not job.status.is_final
            assert job.status is not JobStatus.QUARANTINED or isinstance(event, Signal | DeadlineExceeded)
            assert step.enter is not None or step.job != job
        if step.job.status.is_final or step.job.status is JobStatus.QUARANTINED:
            assert step.note is not None or not step.job.tasks
            assert step.note is not None or not step.outgoing

    @pytest.mark.parametrize(("status", "event"), PAIRS, ids=str)
    def test_is_answered_the_same_way_every_time(self, plan: Plan, status: JobStatus, event: Event) -> None:
        job = Job("g0-1", "video", plan.plan_hash, status, "encode", tasks={TASK: Task(TASK, "encode", "encode", ALL)})

        assert machine.advance(plan, job, event, queue=None) == machine.advance(plan, job, event, queue=None)


class TestBirth:
    def test_makes_a_pending_job_that_is_told_to_start(self, plan: Plan) -> None:
        step = new_job(
            plan, JobRequest(initial_data={"a": 1}, priority=3, labels={"k": "v"}), job_id="g0-1", client="acme"
        )

        job = step.job
        assert (job.status, job.current_state, job.version) == (JobStatus.PENDING, "start", 0)
        assert (job.client, job.initial_data, job.priority, job.labels) == ("acme", {"a": 1}, 3, {"k": "v"})
        assert kinds(step) == ["job_created"]
        assert step.outgoing == (SendEvent(plan.key("start", "_start"), Start("g0-1")),)


class TestStart:
    def test_enters_the_start(self, plan: Plan, pending: Job) -> None:
        step = machine.advance(plan, pending, Start("g0-1"), queue=plan.main_queue)

        assert step.enter == "start"
        assert step.job.status is JobStatus.RUNNING
        assert not step.history

    def test_happens_once(self, plan: Plan, pending: Job) -> None:
        begun = machine.advance(plan, pending, Start("g0-1"), queue=None).job

        assert machine.advance(plan, begun, Start("g0-1"), queue=None).note == {
            "event_type": "start_ignored",
            "reason": "the job has already started",
        }


class TestGoTo:
    def test_goes_on_at_once_within_a_queue(self, plan: Plan, pending: Job) -> None:
        begun = machine.advance(plan, pending, Start("g0-1"), queue=plan.main_queue).job

        step = decisions.decide(plan, begun, GoTo("encode"), queue=plan.main_queue, patch={"seen": 1})

        assert step.enter == "encode"
        assert not step.outgoing
        assert step.history == (
            HistoryEntry("state_entered", state="start", data={"go_to": "encode", "state_history": {"seen": 1}}),
        )
        assert (step.job.current_state, step.job.transitions, step.job.state_history) == ("encode", 1, {"seen": 1})

    def test_sends_itself_on_to_another_queue(self, plan: Plan, pending: Job) -> None:
        job = to_encode(plan, pending)

        step = decisions.decide(plan, job, GoTo("review"), queue=plan.main_queue, patch={})

        enter = Enter("g0-1", "review", transition=2)
        assert step.enter is None
        assert step.outgoing == (SendEvent(plan.key("review", "_enter"), enter),)
        assert (step.job.status, step.job.current_state) == (JobStatus.RUNNING, "review")
        assert machine.advance(plan, step.job, enter, queue=plan.queues[1]).enter == "review"

    def test_ignores_an_enter_of_another_time(self, plan: Plan, pending: Job) -> None:
        job = to_encode(plan, pending)

        assert machine.advance(plan, job, Enter("g0-1", "encode", transition=0), queue=None).note
        assert machine.advance(plan, job, Enter("g0-1", "review", transition=1), queue=None).note

    def test_has_an_end_even_in_a_circle(self, plan: Plan, pending: Job) -> None:
        job = replace(to_encode(plan, pending), rush=5)

        step = decisions.decide(plan, job, GoTo("encode"), queue=None, patch={}, rules=Rules(max_transitions=5))

        assert step.job.status is JobStatus.ERROR
        assert step.job.error == {
            "code": "TOO_MANY_TRANSITIONS",
            "message": "the job entered MAX_TRANSITIONS_PER_JOB=5 states in a row without waiting for a task, a time, "
            "a person or another job",
        }
        assert kinds(step) == ["job_error"]

    def test_counts_no_state_that_waits(self, plan: Plan, pending: Job) -> None:
        job = replace(to_encode(plan, pending), transitions=500, rush=5)
        dispatch = DispatchTask("encode", {}, {"success": "publish"})

        waiting = decisions.decide(plan, job, dispatch, queue=None, patch={}, rules=Rules(max_transitions=5)).job
        onward = decisions.decide(
            plan, waiting, GoTo("encode"), queue=None, patch={}, rules=Rules(max_transitions=5)
        ).job

        assert (waiting.status, waiting.transitions, waiting.rush) == (JobStatus.WAITING_FOR_WORKER, 501, 0)
        assert (onward.status, onward.rush) == (JobStatus.RUNNING, 1)

    def test_a_fan_out_of_no_tasks_is_no_wait(self, plan: Plan, pending: Job) -> None:
        job = replace(to_encode(plan, pending), rush=5)

        step = decisions.decide(plan, job, FanOut((), "publish"), queue=None, patch={}, rules=Rules(max_transitions=5))

        assert step.job.status is JobStatus.ERROR

    def test_the_limit_of_the_blueprint_comes_first(self, plan: Plan, pending: Job) -> None:
        own = replace(plan, max_transitions=9)
        job = replace(to_encode(plan, pending), rush=8)

        onward = decisions.decide(own, job, GoTo("encode"), queue=None, patch={}, rules=Rules(max_transitions=5)).job
        ended = decisions.decide(own, onward, GoTo("encode"), queue=None, patch={}, rules=Rules(max_transitions=50)).job

        assert onward.status is JobStatus.RUNNING
        assert ended.error is not None
        assert "max_transitions=9" in ended.error["message"]


class TestDispatch:
    def test_sends_a_task_and_waits(self, plan: Plan, pending: Job) -> None:
        job = to_encode(plan, pending)

        step = decisions.decide(plan, job, DispatchTask("encode", {"a": 1}, ALL, 5, 2), queue=None, patch={})

        task = Task(TASK, "encode", "encode", ALL, {"a": 1}, max_retries=2, priority=5)
        assert step.outgoing == (SendTask(task),)
        assert step.opened == ((TASK, 1),)
        assert (step.job.status, step.job.tasks, step.job.steps) == (JobStatus.WAITING_FOR_WORKER, {TASK: task}, 1)
        assert kinds(step) == ["state_entered", "task_dispatched"]
        assert step.history[1].data == {"task_type": "encode"}
        assert not step.timers

    def test_inherits_what_the_job_says(self, plan: Plan, pending: Job) -> None:
        job = replace(pending, priority=7, dispatch_timeout_seconds=60, result_timeout_seconds=600)

        task = to_worker(plan, job).tasks[TASK]

        assert (task.priority, task.max_retries) == (7, Rules().max_retries)
        assert (task.dispatch_timeout_seconds, task.result_timeout_seconds) == (60, 600)

    def test_prefers_what_the_handler_says(self, plan: Plan, pending: Job) -> None:
        job = replace(pending, priority=7, dispatch_timeout_seconds=60, result_timeout_seconds=600)

        task = to_worker(plan, job, priority=0, dispatch_timeout_seconds=1, result_timeout_seconds=2).tasks[TASK]

        assert (task.priority, task.dispatch_timeout_seconds, task.result_timeout_seconds) == (0, 1, 2)

    def test_arms_a_timer_until_a_worker_takes_it(self, plan: Plan, pending: Job) -> None:
        job = to_encode(plan, pending)

        step = decisions.decide(
            plan, job, DispatchTask("encode", {}, ALL, dispatch_timeout_seconds=60), queue=None, patch={}
        )

        event = TaskTimeout("g0-1", TASK, 1, "dispatch")
        assert step.timers == (SetTimer(f"{TASK}:dispatch", 60, plan.key("encode", "_timeout"), event),)


class TestSuccess:
    def test_leads_on_within_the_queue_with_the_data_merged(self, plan: Plan, waiting: Job) -> None:
        step = machine.advance(plan, waiting, result(data={"output": "b.mp4"}), queue=plan.main_queue)

        assert step.enter == "publish"
        assert step.closed == ((TASK, 1),)
        assert not step.job.tasks
        assert step.job.state_history == {"output": "b.mp4"}
        assert step.history == (
            HistoryEntry(
                "task_succeeded",
                state="encode",
                task_id=TASK,
                attempt=1,
                worker_id="w-1",
                duration_ms=40,
                data={"outcome": "success", "data": {"output": "b.mp4"}, "go_to": "publish"},
            ),
        )

    def test_sends_the_job_on_where_it_came_by_another_queue(self, plan: Plan, waiting: Job) -> None:
        step = machine.advance(plan, waiting, result(), queue=plan.queues[1])

        assert step.enter is None
        assert step.outgoing == (SendEvent(plan.key("publish", "_enter"), Enter("g0-1", "publish", transition=2)),)

    def test_can_be_a_word_of_the_users_own(self, plan: Plan, waiting: Job) -> None:
        step = machine.advance(plan, waiting, result("needs_review"), queue=plan.queues[1])

        assert step.enter == "review"
        assert kinds(step) == ["task_succeeded"]

    @pytest.mark.parametrize(("data", "learnt"), [([1, 2], {"result": [1, 2]}), (0, {"result": 0}), (None, {})])
    def test_keeps_what_is_no_dict_under_result(
        self, plan: Plan, waiting: Job, data: Any, learnt: dict[str, Any]
    ) -> None:
        assert machine.advance(plan, waiting, result(data=data), queue=None).job.state_history == learnt

    def test_forgets_the_last_error(self, plan: Plan, waiting: Job) -> None:
        job = replace(waiting, error={"code": "X", "message": "before"})

        assert machine.advance(plan, job, result(), queue=None).job.error is None

    def test_cancels_the_timers_of_the_task(self, plan: Plan, pending: Job) -> None:
        job = to_worker(plan, pending, dispatch_timeout_seconds=1, result_timeout_seconds=2)

        step = machine.advance(plan, job, result(), queue=None)

        assert step.cancelled_timers == (f"{TASK}:dispatch", f"{TASK}:result")

    def test_without_a_transition_quarantines(self, plan: Plan, pending: Job) -> None:
        job = to_worker(plan, pending, {"needs_review": "review"})

        step = machine.advance(plan, job, result(), queue=None)

        assert step.job.status is JobStatus.QUARANTINED
        message = (
            "'encode' has no transition for 'success'; the outcomes that it knows: needs_review, failure, cancelled"
        )
        assert step.job.error == {"code": "NO_TRANSITION", "message": message}

    def test_with_an_unknown_word_quarantines(self, plan: Plan, waiting: Job) -> None:
        step = machine.advance(plan, waiting, result("excellent", data={"a": 1}), queue=None)

        assert step.job.status is JobStatus.QUARANTINED
        assert kinds(step) == ["task_failed", "job_quarantined"]
        assert step.history[0].data is not None
        assert step.history[0].data["data"] == {"a": 1}
        assert step.history[1].data is not None
        assert step.history[1].data["reason"] == (
            "the worker answered 'excellent'; the outcomes that 'encode' knows: "
            "success, failure, needs_review, timeout, cancelled"
        )


class TestIgnoredResults:
    @pytest.mark.parametrize(
        ("event", "reason"),
        [
            (Result("g0-1", "g0-1.9.0", 1, "success"), "the job does not wait for this task"),
            (result(attempt=2), "another attempt: the job waits for attempt 1"),
            (result(attempt=0), "another attempt: the job waits for attempt 1"),
        ],
    )
    def test_leave_a_note(self, plan: Plan, waiting: Job, event: Result, reason: str) -> None:
        step = machine.advance(plan, waiting, event, queue=None)

        assert step.note is not None
        assert step.job is waiting
        assert (step.note["event_type"], step.note["reason"]) == ("task_result_ignored", reason)
        assert (step.note["task_id"], step.note["attempt"], step.note["status"]) == (
            event.task_id,
            event.attempt,
            "success",
        )

    def test_come_before_the_next_attempt_has_begun(self, plan: Plan, waiting: Job) -> None:
        retrying = machine.advance(plan, waiting, result("failure"), queue=None).job

        assert machine.advance(plan, retrying, result(attempt=2), queue=None).note

    @pytest.mark.parametrize("status", [*(status for status in JobStatus if status.is_final), JobStatus.QUARANTINED])
    def test_come_when_the_job_is_over_or_at_rest(self, plan: Plan, waiting: Job, status: JobStatus) -> None:
        step = machine.advance(plan, replace(waiting, status=status), result(), queue=None)

        assert step.note is not None
        assert step.note["reason"] == f"the job is {status}"


class TestTransientFailure:
    @pytest.mark.parametrize("code", ["TRANSIENT_ERROR", None])
    def test_is_retried_after_a_while(self, plan: Plan, waiting: Job, code: str | None) -> None:
        step = machine.advance(plan, waiting, result("failure", code=code), queue="anywhere")

        assert kinds(step) == ["task_failed", "task_retried"]
        assert step.job.status is JobStatus.WAITING_FOR_WORKER
        assert (step.job.tasks[TASK].attempt, step.job.tasks[TASK].is_open) == (2, False)
        assert step.closed == ((TASK, 1),)
        [timer] = step.timers
        assert (timer.id, timer.routing_key) == (f"{TASK}:retry", plan.key("encode", "_retry"))
        assert timer.event == RetryTask("g0-1", TASK, attempt=2)
        assert 0.5 <= timer.delay_seconds <= 1
        assert step.history[1].data == {"attempt": 2, "delay_seconds": timer.delay_seconds}

    def test_opens_the_next_attempt(self, plan: Plan, pending: Job) -> None:
        job = to_worker(plan, pending, dispatch_timeout_seconds=60)
        retrying = machine.advance(plan, job, result("failure"), queue=None).job

        step = machine.advance(plan, retrying, RetryTask("g0-1", TASK, attempt=2), queue=None)

        task = step.job.tasks[TASK]
        assert step.outgoing == (SendTask(task),)
        assert step.opened == ((TASK, 2),)
        assert (task.attempt, task.is_open) == (2, True)
        assert kinds(step) == ["task_dispatched"]
        assert [timer.event for timer in step.timers] == [TaskTimeout("g0-1", TASK, 2, "dispatch")]

    def test_opens_it_once(self, plan: Plan, waiting: Job) -> None:
        event = RetryTask("g0-1", TASK, attempt=2)
        retrying = machine.advance(plan, waiting, result("failure"), queue=None).job
        opened = machine.advance(plan, retrying, event, queue=None).job

        assert machine.advance(plan, waiting, event, queue=None).note
        assert machine.advance(plan, opened, event, queue=None).note

    def test_counts_as_permanent_once_its_retries_are_used_up(self, plan: Plan, pending: Job) -> None:
        job = to_worker(plan, pending, max_retries=1)
        retrying = machine.advance(plan, job, result("failure"), queue=None).job
        again = machine.advance(plan, retrying, RetryTask("g0-1", TASK, attempt=2), queue=None).job

        step = machine.advance(plan, again, result("failure", attempt=2), queue=None)

        assert step.enter == "failed"
        assert kinds(step) == ["task_failed"]
        assert step.job.error == {"code": "TRANSIENT_ERROR", "message": "the worker gave no reason"}


class TestOtherFailures:
    @pytest.mark.parametrize("code", ["PERMANENT_ERROR", "GPU_LOST", "INVALID_INPUT_ERROR"])
    def test_lead_to_the_failure_transition_with_the_error_in_sight(self, plan: Plan, waiting: Job, code: str) -> None:
        step = machine.advance(plan, waiting, result("failure", code=code), queue=None)

        assert step.enter == "failed"
        assert step.job.error == {"code": code, "message": "it says so"}
        assert step.history[0].data == {
            "outcome": "failure",
            "error": {"code": code, "message": "it says so"},
            "go_to": "failed",
        }

    @pytest.mark.parametrize("code", ["PERMANENT_ERROR", "GPU_LOST"])
    def test_quarantine_without_one(self, plan: Plan, pending: Job, code: str) -> None:
        job = to_worker(plan, pending, {"success": "publish"}, result_timeout_seconds=9)

        step = machine.advance(plan, job, result("failure", code=code), queue=None)

        assert step.job.status is JobStatus.QUARANTINED
        assert (step.job.current_state, step.job.tasks) == ("encode", {})
        assert step.cancelled_timers == (f"{TASK}:result",)
        assert step.history[1].data == {"reason": "it says so", "error": {"code": code, "message": "it says so"}}

    def test_over_invalid_input_fail_the_job_without_one(self, plan: Plan, pending: Job) -> None:
        job = to_worker(plan, pending, {"success": "publish"})

        step = machine.advance(plan, job, result("failure", code="INVALID_INPUT_ERROR"), queue=None)

        assert step.job.status is JobStatus.FAILED
        assert kinds(step) == ["task_failed", "job_failed"]

    @pytest.mark.parametrize(
        ("transitions", "entered", "status"),
        [
            (ALL, "review", JobStatus.RUNNING),
            ({"success": "publish", "failure": "failed"}, "failed", JobStatus.RUNNING),
            ({"success": "publish"}, None, JobStatus.QUARANTINED),
        ],
    )
    def test_a_cancelled_task_has_a_transition_of_its_own(
        self, plan: Plan, pending: Job, transitions: dict[str, str], entered: str | None, status: JobStatus
    ) -> None:
        step = machine.advance(plan, to_worker(plan, pending, transitions), result("cancelled"), queue=None)

        assert (step.enter, step.job.status) == (entered, status)
        assert step.job.error == {"code": "CANCELLED", "message": "the worker cancelled the task"}


class TestTimeout:
    @pytest.mark.parametrize(
        ("transitions", "entered", "status"),
        [
            (ALL, "review", JobStatus.RUNNING),
            ({"success": "publish", "failure": "failed"}, "failed", JobStatus.RUNNING),
            ({"success": "publish"}, None, JobStatus.FAILED),
        ],
    )
    def test_leads_to_timeout_else_to_failure_else_fails_the_job(
        self, plan: Plan, pending: Job, transitions: dict[str, str], entered: str | None, status: JobStatus
    ) -> None:
        job = to_worker(plan, pending, transitions, dispatch_timeout_seconds=60, result_timeout_seconds=9)

        step = machine.advance(plan, job, TaskTimeout("g0-1", TASK, 1, "result"), queue=None)

        assert (step.enter, step.job.status) == (entered, status)
        assert step.history[0].event_type == "task_timed_out"
        assert step.job.error == {"code": "RESULT_TIMEOUT", "message": "'encode' had no result within 9 s"}
        assert step.closed == ((TASK, 1),)
        assert step.revoked == (f"{TASK}/1",)

    def test_tells_that_nobody_took_the_task(self, plan: Plan, pending: Job) -> None:
        job = to_worker(plan, pending, dispatch_timeout_seconds=60)

        step = machine.advance(plan, job, TaskTimeout("g0-1", TASK, 1, "dispatch"), queue=None)

        assert step.job.error == {"code": "DISPATCH_TIMEOUT", "message": "no worker took 'encode' within 60 s"}

    @pytest.mark.parametrize("event", [TaskTimeout("g0-1", TASK, 2, "result"), TaskTimeout("g0-1", "x", 1, "result")])
    def test_of_another_attempt_is_ignored(self, plan: Plan, waiting: Job, event: TaskTimeout) -> None:
        assert machine.advance(plan, waiting, event, queue=None).note

    def test_of_an_attempt_that_failed_is_ignored(self, plan: Plan, waiting: Job) -> None:
        retrying = machine.advance(plan, waiting, result("failure"), queue=None).job

        assert machine.advance(plan, retrying, TaskTimeout("g0-1", TASK, 2, "result"), queue=None).note


class TestEnd:
    def test_finishes_with_what_the_handler_returned(self, plan: Plan, waiting: Job) -> None:
        job = machine.advance(plan, waiting, result(data={"output": "b.mp4"}), queue=None).job

        step = decisions.decide(plan, job, End({"url": "b.mp4"}), queue=None, patch={})

        assert (step.job.status, step.job.result) == (JobStatus.FINISHED, {"url": "b.mp4"})
        assert kinds(step) == ["state_entered", "job_finished"]
        assert step.history[1].data == {"result": {"url": "b.mp4"}}

    def test_finishes_with_the_data_of_the_last_task_else(self, plan: Plan, waiting: Job) -> None:
        job = machine.advance(plan, waiting, result(data={"output": "b.mp4"}), queue=None).job

        assert decisions.decide(plan, job, End(), queue=None, patch={}).job.result == {"output": "b.mp4"}

    def test_fails_with_the_error_that_led_there(self, plan: Plan, waiting: Job) -> None:
        job = machine.advance(plan, waiting, result("failure", code="GPU_LOST"), queue=None).job

        step = decisions.decide(plan, job, End(), queue=None, patch={})

        error = {"code": "GPU_LOST", "message": "it says so"}
        assert (step.job.status, step.job.error) == (JobStatus.FAILED, error)
        assert step.history[1].data == {"result": None, "error": error}

    def test_finishes_without_an_error(self, plan: Plan, waiting: Job) -> None:
        job = machine.advance(plan, waiting, TaskTimeout("g0-1", TASK, 1, "result"), queue=None).job
        published = decisions.decide(plan, job, GoTo("publish"), queue=None, patch={}).job

        assert decisions.decide(plan, published, End("kept"), queue=None, patch={}).job.error is None

    def test_counts_even_after_too_many_states(self, plan: Plan, waiting: Job) -> None:
        job = replace(machine.advance(plan, waiting, result(), queue=None).job, transitions=100)

        assert decisions.decide(plan, job, End(), queue=None, patch={}).job.status is JobStatus.FINISHED


class TestHandlerRaised:
    def test_is_tried_again_quickly_and_then_is_an_error(self, plan: Plan, pending: Job) -> None:
        job = to_encode(plan, pending)
        delays = []
        for _ in range(3):
            step = decisions.handler_raised(plan, job, error="Traceback ...\nValueError: no")
            [timer] = step.timers
            delays.append(timer.delay_seconds)
            job = machine.advance(plan, step.job, timer.event, queue=None).job

        last = decisions.handler_raised(plan, job, error="Traceback ...\nValueError: no")

        assert delays == [0.5, 1, 2]
        assert last.job.status is JobStatus.ERROR
        assert last.job.error == {
            "code": "HANDLER_RAISED",
            "message": "ValueError: no",
            "traceback": "Traceback ...\nValueError: no",
        }

    def test_waits_as_running_and_enters_again_by_its_own_timer_only(self, plan: Plan, pending: Job) -> None:
        begun = machine.advance(plan, pending, Start("g0-1"), queue=None).job

        step = decisions.handler_raised(plan, begun, error="ValueError")

        event = RetryHandler("g0-1", "start", transition=0, failures=1)
        assert step.job.status is JobStatus.RUNNING
        assert step.timers == (SetTimer("g0-1:handler", 0.5, plan.key("start", "_retry"), event),)
        assert kinds(step) == ["handler_failed"]
        assert machine.advance(plan, step.job, event, queue=None).enter == "start"
        assert machine.advance(plan, step.job, replace(event, failures=2), queue=None).note
        assert machine.advance(plan, step.job, replace(event, transition=1), queue=None).note
        assert machine.advance(plan, step.job, replace(event, state="encode"), queue=None).note
        assert machine.advance(plan, step.job, Enter("g0-1", "start", transition=0), queue=None).note

    def test_is_forgotten_once_the_handler_decides(self, plan: Plan, pending: Job) -> None:
        failed = decisions.handler_raised(plan, to_encode(plan, pending), error="ValueError").job

        step = decisions.decide(plan, failed, DispatchTask("encode", {}, ALL), queue=None, patch={})

        assert step.job.handler_failures == 0

    def test_cancels_its_timer_when_the_job_rests(self, plan: Plan, pending: Job) -> None:
        failed = decisions.handler_raised(plan, to_encode(plan, pending), error="ValueError").job

        step = machine.advance(plan, failed, DeadLetter("g0-1", "dead_letter", state="encode"), queue=None)

        assert step.cancelled_timers == ("g0-1:handler",)


class TestBroken:
    def test_is_an_error_at_once(self, plan: Plan, pending: Job) -> None:
        step = decisions.broken(to_encode(plan, pending), message="no action")

        assert (step.job.status, step.job.current_state) == (JobStatus.ERROR, "encode")
        assert step.job.error == {"code": "HANDLER_ERROR", "message": "no action"}
        assert kinds(step) == ["job_error"]


class TestSignal:
    @pytest.mark.parametrize("status", [status for status in JobStatus if not status.is_final])
    def test_cancels_whatever_is_not_over(self, plan: Plan, waiting: Job, status: JobStatus) -> None:
        job = waiting.evolve(status=status)

        step = machine.advance(plan, job, Signal("g0-1", "cancel", by="ada", token="t"), queue=None)

        assert (step.job.status, step.job.tasks) == (JobStatus.CANCELLED, {})
        assert [(entry.event_type, entry.data) for entry in step.history] == [("job_cancelled", {"by": "ada"})]
        assert step.closed == ((TASK, 1),)

    def test_takes_a_job_out_of_quarantine_into_the_state_where_it_stood(self, plan: Plan, waiting: Job) -> None:
        resting = machine.advance(plan, waiting, result(status="splendid"), queue=None).job

        step = machine.advance(plan, resting, Signal("g0-1", "retry", by="ada", token="t"), queue=None)

        assert resting.status is JobStatus.QUARANTINED
        assert (step.enter, step.job.error) == ("encode", None)
        assert [(entry.event_type, entry.data) for entry in step.history] == [("job_resumed", {"by": "ada"})]

    def test_into_another_queue_it_goes_by_a_message(self, plan: Plan, waiting: Job) -> None:
        resting = machine.advance(plan, waiting, result(status="splendid"), queue=None).job

        step = machine.advance(plan, resting, Signal("g0-1", "retry", by="ada", token="t"), queue="another queue")

        assert step.enter is None
        assert [sent.routing_key for sent in step.outgoing if isinstance(sent, SendEvent)] == [
            plan.key("encode", "_enter")
        ]

    def test_has_nothing_to_resume_in_a_job_that_runs(self, plan: Plan, waiting: Job) -> None:
        note = machine.advance(plan, waiting, Signal("g0-1", "retry", by="ada", token="t"), queue=None).note

        assert note is not None
        assert note["reason"] == "the job is waiting_for_worker, not quarantined"


class TestDeadLetter:
    def test_of_a_task_quarantines_with_the_reason(self, plan: Plan, waiting: Job) -> None:
        event = DeadLetter("g0-1", "delivered 5 times", "encode", TASK, 1, details={"error": "SIGKILL"})

        step = machine.advance(plan, waiting, event, queue=None)

        message = "the task 'encode' was dead-lettered: delivered 5 times"
        assert step.job.status is JobStatus.QUARANTINED
        assert step.job.error == {"code": "DEAD_LETTER", "message": message}
        assert step.history[0].data is not None
        assert step.history[0].data["reason"] == message
        assert step.history[0].data["details"] == {"error": "SIGKILL"}
        assert step.closed == ((TASK, 1),)

    def test_of_an_answer_that_was_refused_has_the_task_done_again(self, plan: Plan, waiting: Job) -> None:
        event = DeadLetter("g0-1", "forged: by nobody", "encode", TASK, 1, is_refused=True)

        step = machine.advance(plan, waiting, event, queue=None)

        assert step.job.status is JobStatus.WAITING_FOR_WORKER
        assert (step.job.tasks[TASK].attempt, step.job.tasks[TASK].is_open) == (2, False)
        assert [entry.event_type for entry in step.history] == ["task_failed", "task_retried"]
        assert step.closed == ((TASK, 1),)

    def test_of_an_answer_that_was_refused_quarantines_when_no_attempt_is_left(self, plan: Plan, waiting: Job) -> None:
        event = DeadLetter("g0-1", "forged: by nobody", "encode", TASK, 1, is_refused=True)
        last = waiting.evolve(tasks={TASK: replace(waiting.tasks[TASK], max_retries=0)})

        step = machine.advance(plan, last, event, queue=None)

        assert step.job.status is JobStatus.QUARANTINED
        assert step.job.error is not None
        assert step.job.error["code"] == "DEAD_LETTER"

    def test_of_a_step_quarantines_with_the_reason(self, plan: Plan, pending: Job) -> None:
        event = DeadLetter("g0-1", "delivered 5 times", state="start")

        assert machine.advance(plan, pending, event, queue=None).job.status is JobStatus.QUARANTINED

    @pytest.mark.parametrize(
        "event",
        [
            DeadLetter("g0-1", "dead_letter", state="start"),
            DeadLetter("g0-1", "dead_letter", state="encode", task_id=TASK, attempt=2),
            DeadLetter("g0-1", "dead_letter", state="encode", task_id="g0-1.9.0", attempt=1),
        ],
    )
    def test_of_what_is_past_is_ignored(self, plan: Plan, waiting: Job, event: DeadLetter) -> None:
        assert machine.advance(plan, waiting, event, queue=None).note


class TestThen:
    """Two steps as one commit."""

    def test_adds_up_and_ends_where_the_later_ends(self, plan: Plan, pending: Job) -> None:
        first = machine.advance(plan, pending, Start("g0-1"), queue=None)
        second = decisions.decide(plan, first.job, GoTo("encode"), queue=None, patch={})

        both = first.then(second)

        assert (both.job, both.enter) == (second.job, "encode")
        assert both.history == first.history + second.history

    def test_opens_nothing_that_it_closes_and_sets_no_timer_that_it_cancels(self, plan: Plan, pending: Job) -> None:
        job = to_encode(plan, pending)
        action = DispatchTask("encode", {}, ALL, dispatch_timeout_seconds=60)
        first = decisions.decide(plan, job, action, queue=None, patch={})
        second = machine.advance(plan, first.job, DeadLetter("g0-1", "x", state="encode"), queue=None)

        both = first.then(second)

        assert (both.opened, both.timers) == ((), ())
        assert both.closed == ((TASK, 1),)
