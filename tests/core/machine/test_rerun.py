"""Where a rerun starts, and with which data."""

from collections.abc import Callable
from typing import Any

import pytest

from avtomatika import Blueprint, PermanentError
from avtomatika.core.events import Start
from avtomatika.core.job import HistoryEntry, JobStatus
from avtomatika.core.job_request import JobRequest
from avtomatika.core.machine import machine
from avtomatika.core.machine.creation import new_job
from avtomatika.core.machine.rerun import failed_state
from avtomatika.core.plan import Plan
from avtomatika.core.step import SendEvent
from avtomatika.testing import RunResult, run

FAILS = PermanentError("disk full")


def film(encode: Callable[..., None], **handlers: Callable[..., Any]) -> Blueprint:
    """``start`` learns something, ``encode`` is the state of the test; both ends exist."""
    bp = Blueprint("film")

    @bp.handler(is_start=True)
    def start(actions: Any) -> None:
        actions.dispatch_task("probe", {}, transitions={"success": "encode"})

    bp.handler(encode)
    for name, handler in handlers.items():
        bp.handler(name, may_go_to=["failed"])(handler)

    @bp.handler(is_end=True)
    def done() -> None: ...

    @bp.handler(is_end="failed")
    def failed(job_data: dict[str, Any]) -> None:
        job_data["seen_by_failed"] = True

    return bp


def dispatching(failure: str = "failed") -> Callable[..., None]:
    def encode(job_data: dict[str, Any], actions: Any) -> None:
        job_data["codec"] = "h264"
        actions.dispatch_task("encode", {}, transitions={"success": "done", "failure": failure})

    return encode


def found(bp: Blueprint, **skills: Any) -> tuple[str, Any]:
    ended = run(bp, skills={"probe": {"width": 640}, **skills})
    return at_end(bp, ended)


def at_end(bp: Blueprint, ended: RunResult) -> tuple[str, Any]:
    return failed_state(bp.plan, ended.job, (recorded.entry for recorded in ended.history))


def test_it_is_the_state_of_the_failed_task_with_the_data_it_had_on_entry() -> None:
    assert found(film(dispatching()), encode=FAILS) == ("encode", {"width": 640})


def test_a_state_that_cleans_up_after_the_failure_is_passed_over() -> None:
    def clean(job_data: dict[str, Any], actions: Any) -> None:
        job_data["width"] = 0
        actions.go_to("failed")

    bp = film(dispatching("clean"), clean=clean)

    assert found(bp, encode=FAILS) == ("encode", {"width": 640})


def test_a_handler_that_chooses_the_failed_end_is_asked_again() -> None:
    def encode(job_data: dict[str, Any], actions: Any) -> None:
        job_data["refused"] = True
        actions.go_to("failed") if job_data["width"] else actions.go_to("done")

    assert found(film(encode)) == ("encode", {"width": 640})


def test_a_handler_that_raised_runs_again_with_the_data_of_its_last_visit() -> None:
    def encode(job_data: dict[str, Any], actions: Any) -> None:
        if job_data.get("visits") == 2:
            raise ValueError
        job_data["visits"] = job_data.get("visits", 0) + 1
        if job_data["visits"] < 3:
            actions.go_to("encode")
        elif job_data["width"]:
            actions.go_to("done")
        else:
            actions.go_to("failed")

    bp = film(encode)
    ended = run(bp, skills={"probe": {"width": 640}})

    assert ended.status == "error"
    assert at_end(bp, ended) == ("encode", {"width": 640, "visits": 2})


def test_an_aggregator_is_replaced_by_the_state_of_its_fan_out() -> None:
    def encode(actions: Any) -> None:
        actions.dispatch_parallel([{"task_type": "part", "params": {}}] * 2, aggregate_into="join")

    bp = Blueprint("film")

    @bp.handler(is_start=True)
    def start(job_data: dict[str, Any], actions: Any) -> None:
        job_data["parts"] = 2
        actions.go_to("encode")

    bp.handler(encode)

    @bp.aggregator
    def join(job_data: dict[str, Any], actions: Any) -> None:
        if job_data["parts"] == 2:
            raise ValueError
        actions.go_to("done")

    @bp.handler(is_end=True)
    def done() -> None: ...

    ended = run(bp, skills={"part": {"ok": True}})

    assert (ended.status, ended.job.current_state) == ("error", "join")
    assert at_end(bp, ended) == ("encode", {"parts": 2})


def test_a_job_without_history_of_states_starts_at_the_start(plan: Plan) -> None:
    job = new_job(plan, JobRequest(), job_id="g0-1", client="me").job.evolve(status=JobStatus.CANCELLED)

    assert failed_state(plan, job, [HistoryEntry("job_created", state="start")]) == ("start", {})


@pytest.mark.parametrize("state", ["encode", "review"])
def test_a_job_starts_in_the_state_that_it_was_created_in(plan: Plan, state: str) -> None:
    created = new_job(
        plan, JobRequest(), job_id="g0-1", client="me", state=state, state_history={"width": 640, "height": 480}
    )
    begun = machine.advance(plan, created.job, Start("g0-1"), queue=plan.main_queue)

    [entry] = created.history
    assert (entry.state, (entry.data or {})["state_history"]) == (state, {"width": 640, "height": 480})
    assert [sent.event for sent in created.outgoing if isinstance(sent, SendEvent)] == [Start("g0-1")]
    assert (begun.job.current_state, begun.job.state_history) == (state, {"width": 640, "height": 480})
    assert begun.enter == ("encode" if state == "encode" else None)  # "review" has a queue of its own
    again = failed_state(plan, begun.job, created.history)
    assert again == (state, {"width": 640, "height": 480})
