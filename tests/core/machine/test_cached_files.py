"""Tasks that name files: routed to a worker that has them cached, to any worker if there is none."""

from __future__ import annotations

from typing import Any

import pytest

from avtomatika.core.blueprint.action_types import DispatchTask, GoTo
from avtomatika.core.events import PlaceTask, Result, RetryTask, Start
from avtomatika.core.job import Job
from avtomatika.core.machine import decisions, machine, placement as placing
from avtomatika.core.placement.cached_files import MOST_FILES, digest_of, digests_in, names_files
from avtomatika.core.placement.selection import NEARBY, Candidate, Needs
from avtomatika.core.plan import Plan
from avtomatika.core.step import SendTask, Step

TASK = "g0-1.1.0"
FILM = "s3://raw/lake.mov"
HOLDER = Candidate(worker_id="holder", skills=frozenset({"encode"}), cached_files=frozenset({digest_of(FILM)}))
OTHER = Candidate(worker_id="other", skills=frozenset({"encode"}))


def dispatched(plan: Plan, pending: Job, params: dict[str, Any], needs: Needs | None = None) -> Step:
    begun = machine.advance(plan, pending, Start(pending.id), queue=None).job
    ready = decisions.decide(plan, begun, GoTo("encode"), queue=None, patch={}).job
    action = DispatchTask("encode", params, {"success": "publish", "failure": "failed"}, needs=needs)
    return decisions.decide(plan, ready, action, queue=None, patch={})


@pytest.fixture
def waiting(plan: Plan, pending: Job) -> Step:
    """The step that dispatched a task with a film."""
    return dispatched(plan, pending, {"films": [{"input": FILM}]})


def place(plan: Plan, job: Job, choice: Candidate | None) -> Step:
    event = PlaceTask("g0-1", TASK, job.tasks[TASK].attempt, choice=choice)
    return machine.advance(plan, job, event, queue=None)


def look(job: Job, *fleet: Candidate, taken_by: str | None = None, waited: int = 0) -> Any:
    event = PlaceTask("g0-1", TASK, job.tasks[TASK].attempt, waited=waited)
    return placing.look(job, event, taken_by=taken_by, fleet=fleet)


def test_only_files_count_and_only_where_the_handler_asks_for_nothing_itself(plan: Plan, pending: Job) -> None:
    own = Needs(max_cost=1)

    def needs_of(params: dict[str, Any], needs: Needs | None = None) -> Needs | None:
        return dispatched(plan, pending, params, needs).job.tasks[TASK].needs

    assert needs_of({"film": FILM}) == NEARBY
    assert needs_of({"film": FILM}, own) == own
    assert needs_of({"film": "/a.mov", "folder": "s3://raw/lake/", "text": f"see {FILM}"}) is None


def test_a_task_without_files_is_sent_at_once(plan: Plan, pending: Job) -> None:
    step = dispatched(plan, pending, {"film": "https://example.org/lake.mov"})

    assert [type(sent) for sent in step.outgoing] == [SendTask]


def test_it_goes_to_the_holder_and_the_history_says_why(plan: Plan, waiting: Step) -> None:
    choice = look(waiting.job, OTHER, HOLDER)
    step = place(plan, waiting.job, choice)

    assert choice == HOLDER
    assert [sent.task.worker_id for sent in step.outgoing if isinstance(sent, SendTask)] == ["holder"]
    [entry] = step.history
    assert (entry.event_type, entry.worker_id, entry.data) == ("task_routed", "holder", {"strategy": "nearby"})


def test_where_nobody_has_it_the_task_is_anybodys_and_as_any_other(plan: Plan, waiting: Step) -> None:
    choice = look(waiting.job, OTHER)
    step = place(plan, waiting.job, None)

    assert choice == placing.Look.ANY_WORKER
    [sent] = step.outgoing
    assert isinstance(sent, SendTask)
    assert (sent.task.worker_id, sent.task.needs, sent.task.attempt) == (None, None, 1)
    assert step.history == ()


def test_one_that_begins_in_time_keeps_it(plan: Plan, waiting: Step) -> None:
    routed = place(plan, waiting.job, HOLDER).job

    assert look(routed, HOLDER, waited=placing.PREFERRED_WITHIN_VISITS - 1) == placing.Look.KEEP
    assert look(routed, HOLDER, waited=100, taken_by="holder") == placing.Look.KEEP


def test_one_that_does_not_or_is_lost_makes_it_anybodys(plan: Plan, waiting: Step) -> None:
    routed = place(plan, waiting.job, HOLDER).job
    late = look(routed, HOLDER, waited=placing.PREFERRED_WITHIN_VISITS)
    lost = look(routed, OTHER, taken_by="holder")
    step = place(plan, routed, None)

    assert (late, lost) == (placing.Look.ANY_WORKER, placing.Look.ANY_WORKER)
    [sent] = step.outgoing
    assert isinstance(sent, SendTask)
    assert (sent.task.worker_id, sent.task.attempt) == (None, 2)
    assert sent.task.attempt_group not in step.revoked, "it must not go with what was taken away"
    assert [(entry.event_type, entry.worker_id) for entry in step.history] == [("task_rerouted", "holder")]
    assert (step.closed, step.opened) == (((TASK, 1),), ((TASK, 2),))


def test_a_retry_is_anybodys_at_once_for_the_holder_may_be_the_cause(plan: Plan, waiting: Step) -> None:
    routed = place(plan, waiting.job, HOLDER).job
    failed = Result("g0-1", TASK, 1, "failure", error={"code": "TRANSIENT_ERROR", "message": "disk full"})
    retrying = machine.advance(plan, routed, failed, queue=None).job

    step = machine.advance(plan, retrying, RetryTask("g0-1", TASK, 2), queue=None)

    [sent] = step.outgoing
    assert isinstance(sent, SendTask)
    assert (sent.task.worker_id, sent.task.attempt) == (None, 2)


def test_of_very_many_files_the_first_are_looked_for() -> None:
    params = {"films": [f"s3://raw/{number}.mov" for number in range(MOST_FILES + 1)]}

    assert len(digests_in(params)) == MOST_FILES
    assert digest_of(f"s3://raw/{MOST_FILES}.mov") not in digests_in(params)
    assert names_files(params)
