"""Where a rerun starts, and with which data."""

from collections.abc import Callable
from typing import Any

import pytest

from avtomatika import Blueprint, PermanentError
from avtomatika.core.blueprint.action_types import DispatchTask, FanOut
from avtomatika.core.events import Start
from avtomatika.core.job import HistoryEntry, JobStatus, RecordedEntry
from avtomatika.core.job_request import JobRequest
from avtomatika.core.machine import machine
from avtomatika.core.machine.creation import new_job
from avtomatika.core.machine.decisions import decide
from avtomatika.core.machine.rerun import StartPoint, start_point
from avtomatika.core.plan import Plan
from avtomatika.core.step import SendEvent, SendTask
from avtomatika.errors import ConflictError
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
    point = start_point(bp.plan, ended.job, ended.history)
    return point.state, point.state_history


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

    history = [RecordedEntry(1, 1, 0, HistoryEntry("job_created", state="start"))]

    assert start_point(plan, job, history) == StartPoint("start")


@pytest.mark.parametrize("state", ["encode", "review"])
def test_a_job_starts_in_the_state_that_it_was_created_in(plan: Plan, state: str) -> None:
    data = {"width": 640, "height": 480}
    point = StartPoint(state, data, result=data, error={"code": "X"}, kept={"1": [None, {"status": "success"}]})
    created = new_job(plan, JobRequest(), job_id="g0-1", client="me", point=point)
    begun = machine.advance(plan, created.job, Start("g0-1"), queue=plan.main_queue)

    [entry] = created.history
    assert (entry.state, (entry.data or {})["state_history"]) == (state, data)
    assert [sent.event for sent in created.outgoing if isinstance(sent, SendEvent)] == [Start("g0-1")]
    assert (begun.job.current_state, begun.job.state_history) == (state, data)
    assert (begun.job.result, begun.job.error) == (data, {"code": "X"})
    assert begun.enter == ("encode" if state == "encode" else None)  # "review" has a queue of its own
    assert start_point(plan, begun.job, [RecordedEntry(1, 1, 0, entry)]) == point


def parts(join: Callable[..., None], failure: str | None = None) -> Blueprint:
    """A fan-out of three parts, joined by *join*."""
    bp = Blueprint("film")
    outcome = {} if failure is None else {"failure": failure}

    @bp.handler(is_start=True)
    def start(job_data: dict[str, Any], actions: Any) -> None:
        job_data["codec"] = "h264"
        actions.go_to("encode")

    @bp.handler(may_go_to=["encode"])
    def encode(actions: Any) -> None:
        actions.dispatch_parallel(
            [{"task_type": "part", "params": {"n": n}, "transitions": outcome} for n in (1, 3, 2)],
            aggregate_into="join",
        )

    bp.aggregator("join")(join)

    @bp.handler(is_end=True)
    def done() -> None: ...

    @bp.handler(is_end="failed")
    def failed() -> None: ...

    return bp


def part(params: dict[str, Any]) -> int:
    if params["n"] == 2:
        raise FAILS
    return 10 * int(params["n"])


def test_results_of_branches_are_kept_and_only_the_others_run_again() -> None:
    def join(aggregation_results: dict[str, Any], actions: Any) -> None:
        total = sum(result["data"] for result in aggregation_results.values())
        actions.go_to("done") if total else actions.go_to("failed")

    bp = parts(join)
    ended = run(bp, skills={"part": part})
    point = start_point(bp.plan, ended.job, ended.history)
    created = new_job(bp.plan, JobRequest(), job_id="g0-2", client="me", point=point)
    action = FanOut([DispatchTask("part", {"n": n}, {"success": "join"}) for n in (1, 4, 2)], "join")
    entered = created.job.evolve(status=JobStatus.RUNNING)
    step = decide(bp.plan, entered, action, queue=bp.plan.main_queue, patch={})

    assert (point.state, point.state_history, set(point.kept)) == ("encode", {"codec": "h264"}, {"1", "2"})
    sent = [each.task.params["n"] for each in step.outgoing if isinstance(each, SendTask)]
    assert sent == [4, 2], "the second branch has other params now"
    assert [(end.task_id, end.answer["data"]) for end in step.ended] == [("g0-2.1.1", {"result": 10})]
    assert step.job.kept == {}
    assert step.joined is not None


def test_an_aggregator_that_failed_gets_all_results_again() -> None:
    def join(aggregation_results: dict[str, Any], actions: Any) -> None:
        if any(result["error"] is not None for result in aggregation_results.values()):
            return actions.go_to("failed")
        if aggregation_results:
            raise ValueError
        actions.go_to("done")

    bp = parts(join, failure="join")
    broken = run(bp, skills={"part": {"ok": True}})
    chosen = run(bp, skills={"part": part})

    assert set(start_point(bp.plan, broken.job, broken.history).kept) == {"1", "2", "3"}
    assert set(start_point(bp.plan, chosen.job, chosen.history).kept) == {"1", "2"}
    assert start_point(bp.plan, chosen.job, chosen.history, "encode").kept == {}


def test_a_point_is_a_state_or_an_entry_of_the_history() -> None:
    bp = film(dispatching())
    ended = run(bp, skills={"probe": {"width": 640}, "encode": FAILS})
    by_type = {recorded.entry.event_type: recorded.seq for recorded in ended.history}

    def at(place: str | int) -> StartPoint:
        return start_point(bp.plan, ended.job, ended.history, place)

    assert at("encode") == at(by_type["task_succeeded"]) == StartPoint("encode", {"width": 640}, {"width": 640})
    assert at(1) == at("start") == StartPoint("start")
    failed = at(by_type["job_failed"])
    assert (failed.state, failed.error and failed.error["message"]) == ("failed", "disk full")
    for place, reason in (("review", "never entered the state"), (999, "has no entry 999"), (0, "has no entry 0")):
        with pytest.raises(ConflictError, match=reason):
            at(place)


def test_a_history_that_lacks_data_is_no_source() -> None:
    bp = film(dispatching())
    ended = run(bp, skills={"probe": {"width": 640}, "encode": FAILS})
    cut = [recorded for recorded in ended.history if recorded.entry.event_type != "task_succeeded"]

    with pytest.raises(ConflictError, match="the history lacks data of the job"):
        start_point(bp.plan, ended.job, cut)
