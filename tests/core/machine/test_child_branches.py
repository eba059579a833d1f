"""Child jobs as branches of a fan-out, alone and mixed with tasks; and how a fan-out deals with failures."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from avtomatika import Blueprint, PermanentError
from avtomatika.core.blueprint.actions import Actions
from avtomatika.core.machine.fan_out import CHUNK_WITH_CHILDREN as CHUNK
from avtomatika.errors import HandlerError
from avtomatika.testing import NEVER_ANSWERS, NEVER_TAKEN, RunResult, run


def thumb() -> Blueprint:
    bp = Blueprint("thumb")

    @bp.handler(is_start=True)
    def start(initial_data: dict[str, Any], actions: Any) -> None:
        actions.dispatch_task("resize", initial_data, transitions={"success": "done", "failure": "failed"})

    @bp.handler(is_end=True)
    def done(size: int) -> int:
        return size

    @bp.handler(is_end="failed")
    def failed() -> None: ...

    return bp


def album(**policy: Any) -> Blueprint:
    """Runs a child for each size, and a task for each name, in one fan-out; *policy* are its further arguments."""
    bp = Blueprint("album")

    @bp.handler(is_start=True, may_go_to=["collect", "rescue"])
    def split(initial_data: dict[str, Any], actions: Any) -> None:
        items: list[dict[str, Any]] = [
            {"blueprint": "thumb", "initial_data": {"size": size}, **initial_data.get("child", {})}
            for size in initial_data.get("sizes", [])
        ]
        items += [
            {"task_type": "greet", "params": {"name": name}, **initial_data.get("task", {})}
            for name in initial_data.get("names", [])
        ]
        actions.dispatch_parallel(items, "collect", **policy)

    @bp.aggregator
    def collect(aggregation_results: dict[str, Any], state_history: dict[str, Any], actions: Any) -> None:
        state_history["statuses"] = [each["status"] for each in aggregation_results.values()]
        state_history["data"] = [each["data"] for each in aggregation_results.values()]
        state_history["codes"] = [each["error"] and each["error"]["code"] for each in aggregation_results.values()]
        actions.go_to("done")

    @bp.handler
    def rescue(actions: Any) -> None:
        actions.go_to("done")

    @bp.handler(is_end=True)
    def done() -> None: ...

    return bp


def resize(params: dict[str, Any]) -> dict[str, Any]:
    if params["size"] < 0:
        raise PermanentError("a negative size")
    return params


def greet(params: dict[str, Any]) -> dict[str, str]:
    if params["name"] == "Nobody":
        raise PermanentError("nobody is there")
    return {"greeting": f"hello, {params['name']}"}


def ran(data: dict[str, Any], skills: dict[str, Any] | None = None, **policy: Any) -> RunResult:
    given = {"resize": resize, "greet": greet, **(skills or {})}
    return run(album(**policy), data, skills=given, blueprints=[thumb()])


def kinds(ended: RunResult) -> list[str]:
    return [recorded.entry.event_type for recorded in ended.history]


class TestChildren:
    def test_children_and_tasks_are_joined_in_the_order_of_the_list(self) -> None:
        ended = ran({"sizes": [1, 2], "names": ["Ada"]})

        assert ended.status == "finished"
        assert ended.job_data["data"] == [1, 2, {"greeting": "hello, Ada"}]
        assert [child.job.id for child in ended.children] == ["test-1-1-1", "test-1-1-2"]
        assert [child.status for child in ended.children] == ["finished", "finished"]

    def test_the_history_names_each_child_and_its_end(self) -> None:
        ended = ran({"sizes": [7]})

        started, finished = (
            next(each.entry for each in ended.history if each.entry.event_type == kind)
            for kind in ("child_started", "branch_finished")
        )
        assert {"child_id": "test-1-1-1", "blueprint": "thumb"}.items() <= (started.data or {}).items()
        assert (started.task_id, finished.task_id) == ("test-1.1.1", "test-1.1.1")
        assert finished.data == {"outcome": "success", "data": 7}

    def test_a_child_has_its_own_priority_labels_and_time_limit(self) -> None:
        options = {"priority": 7, "labels": {"part": "a"}, "time_limit": 60}
        ended = ran({"sizes": [1, 2], "child": options}, {"resize": NEVER_TAKEN})

        child = ended.children[0].job
        assert (child.priority, child.execution_timeout_seconds) == (7, 60)
        assert child.labels == {"parent": "test-1", "part": "a"}
        assert (ended.status, child.status) == ("failed", "failed")
        assert ended.error is not None
        assert ended.error["code"] == "DEADLINE_EXCEEDED"

    def test_a_single_child_has_them_too(self) -> None:
        bp = Blueprint("alone")

        @bp.handler(is_start=True)
        def start(actions: Any) -> None:
            limit = timedelta(minutes=1)
            actions.run_blueprint("thumb", {}, {"success": "done"}, priority=3, labels={"part": "b"}, time_limit=limit)

        @bp.handler(is_end=True)
        def done() -> None: ...

        child = run(bp, skills={"resize": NEVER_TAKEN}, blueprints=[thumb()]).children[0].job

        assert (child.priority, child.execution_timeout_seconds) == (3, 60)
        assert child.labels == {"parent": "test-1", "part": "b"}

    @pytest.mark.parametrize("count", [CHUNK, CHUNK + 1, 2 * CHUNK + 10])
    def test_many_are_started_in_chunks(self, count: int) -> None:
        ended = ran({"sizes": list(range(count))})

        assert ended.job_data["data"] == list(range(count))
        assert len(ended.children) == count
        assert len(ended.job.children) == 100, "the job keeps the ids of the last ones only"

    def test_cancelling_the_parent_cancels_the_open_children(self) -> None:
        ended = ran({"sizes": [-1, 2, 3]}, {"resize": lambda params: resize(params) if params["size"] < 3 else None})

        assert ended.status == "failed"
        assert [child.status for child in ended.children] == ["failed", "cancelled", "cancelled"]
        assert ended.error is not None
        assert ended.error["code"] == "PERMANENT_ERROR"

    def test_an_unknown_blueprint_starts_nothing(self) -> None:
        ended = run(album(), {"sizes": [1]}, skills={})

        assert (ended.status, ended.children) == ("error", ())
        assert ended.error is not None
        assert ended.error["code"] == "UNKNOWN_BLUEPRINT"

    def test_run_blueprints_is_the_short_form(self) -> None:
        bp = Blueprint("short")

        @bp.handler(is_start=True)
        def start(actions: Any) -> None:
            actions.run_blueprints(
                [{"blueprint": "thumb", "initial_data": {"size": size}} for size in range(3)], aggregate_into="add"
            )

        @bp.aggregator(is_end=True)
        def add(aggregation_results: dict[str, Any]) -> int:
            return sum(each["data"] for each in aggregation_results.values())

        assert bp.plan.states["start"].children == ("thumb",)
        assert run(bp, skills={"resize": resize}, blueprints=[thumb()]).result == 3


class TestFailures:
    def test_the_first_failure_fails_the_job_at_once(self) -> None:
        ended = ran({"names": ["Nobody", "Ada"]})

        assert (ended.status, kinds(ended).count("branch_finished")) == ("failed", 0)

    def test_all_may_finish_before_the_job_fails(self) -> None:
        ended = ran({"names": ["Nobody", "Ada"], "sizes": [-1, 5]}, on_failure="finish_all")

        assert ended.status == "failed"
        assert kinds(ended).count("branch_finished") == 4
        assert ended.error is not None
        assert ended.error["message"] == "nobody is there", "the error of the first failure"
        joined = ended.history[-2].entry
        assert joined.event_type == "branches_joined"
        assert joined.data == {"branches": 4, "failed": 2, "error": ended.error}

    def test_all_may_finish_before_the_transition_of_the_first_failure(self) -> None:
        task = {"transitions": {"failure": "rescue"}}
        ended = ran({"names": ["Nobody", "Ada"], "task": task}, on_failure="finish_all")

        assert (ended.status, ended.states) == ("finished", ("split", "rescue", "done"))
        assert kinds(ended).count("branch_finished") == 2

    def test_some_may_fail_and_the_aggregator_sees_which(self) -> None:
        ended = ran({"names": ["Ada", "Nobody"], "sizes": [-1, 5]}, max_failures=2)

        assert ended.status == "finished"
        assert ended.job_data["statuses"] == ["failure", "success", "success", "failure"]
        assert ended.job_data["codes"] == ["PERMANENT_ERROR", None, None, "PERMANENT_ERROR"]

    def test_one_more_fails_the_job_at_once(self) -> None:
        ended = ran({"names": ["Nobody", "Nobody", "Ada"]}, max_failures=1)

        assert (ended.status, kinds(ended).count("branch_finished")) == ("failed", 1)

    def test_one_more_fails_the_job_when_all_have_ended(self) -> None:
        ended = ran({"names": ["Nobody", "Nobody", "Ada"]}, max_failures=1, on_failure="finish_all")

        assert (ended.status, kinds(ended).count("branch_finished")) == ("failed", 3)

    def test_a_branch_out_of_time_may_fail_too(self) -> None:
        data = {"names": ["Ada", "Bob"], "sizes": [1], "task": {"result_timeout": 5, "max_retries": 0}}
        ended = ran(data, {"greet": NEVER_ANSWERS}, max_failures=2)

        assert ended.job_data["statuses"] == ["success", "timeout", "timeout"]

    def test_a_failure_that_its_branch_leads_to_the_aggregator_is_no_failure_of_the_fan_out(self) -> None:
        ended = ran({"names": ["Nobody", "Nobody"], "task": {"transitions": {"failure": "collect"}}}, max_failures=0)

        assert ended.job_data["statuses"] == ["failure", "failure"]

    def test_an_unknown_outcome_quarantines_the_job_whatever_may_fail(self) -> None:
        bp = album(max_failures=9)
        schema = {"type": "object", "required": ["size"]}
        ended = run(bp, {"names": ["Ada"], "task": {"output_schema": schema}}, skills={"greet": greet})

        assert (ended.status, ended.error and ended.error["code"]) == ("quarantined", "CONTRACT_VIOLATION")


class TestFirstSuccess:
    def test_it_cancels_the_others_and_runs_the_aggregator(self) -> None:
        ended = ran({"sizes": [1, 2], "names": ["Nobody", "Ada"]}, first_success=True)

        assert ended.status == "finished"
        assert ended.job_data["statuses"] == ["failure", "success"], "a success stops all that are still open"
        assert ended.job_data["data"] == [None, {"greeting": "hello, Ada"}]
        assert [child.status for child in ended.children] == ["cancelled", "cancelled"]

    def test_without_any_the_job_fails(self) -> None:
        ended = ran({"names": ["Nobody", "Nobody"]}, first_success=True)

        assert (ended.status, kinds(ended).count("branch_finished")) == ("failed", 1)

    def test_too_many_failures_fail_it_before_the_last(self) -> None:
        ended = ran({"names": ["Nobody", "Nobody", "Ada"]}, first_success=True, max_failures=1)

        assert ended.status == "failed"

    def test_the_last_branch_may_be_the_one(self) -> None:
        ended = ran({"names": ["Ada"]}, first_success=True)

        assert (ended.status, ended.job_data["statuses"]) == ("finished", ["success"])
        assert kinds(ended).count("branches_joined") == 1


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"on_failure": "ignore"}, "on_failure must be one of fail, finish_all, not 'ignore'"),
        ({"max_failures": -1}, "max_failures must be a whole number, 0 to 100000, not -1"),
        ({"first_success": 1}, "first_success must be True or False, not 1"),
    ],
)
def test_an_invalid_policy_is_refused(policy: dict[str, Any], message: str) -> None:
    with pytest.raises(HandlerError, match=message):
        Actions().dispatch_parallel([], "collect", **policy)
