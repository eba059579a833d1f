"""Fan-out and fan-in: several tasks at once, one state that collects."""

from __future__ import annotations

from typing import Any

import pytest

from avtomatika import Blueprint, PermanentError, TransientError
from avtomatika.core.machine.fan_out import CHUNK
from avtomatika.errors import BlueprintError
from avtomatika.testing import NEVER_TAKEN, RunResult, run


def album(**branch: Any) -> Blueprint:
    """Resizes every photo, and collects the thumbnails; *branch* is what each task says besides."""
    bp = Blueprint("album")

    @bp.handler(is_start=True, may_go_to=["collect", "rescue"])
    def split(initial_data: dict[str, Any], actions: Any) -> None:
        tasks = [{"task_type": "resize", "params": {"photo": photo}, **branch} for photo in initial_data["photos"]]
        actions.dispatch_parallel(tasks, aggregate_into="collect")

    @bp.aggregator
    def collect(aggregation_results: dict[str, Any], state_history: dict[str, Any], actions: Any) -> None:
        state_history["statuses"] = [each["status"] for each in aggregation_results.values()]
        state_history["thumbs"] = [each["data"] for each in aggregation_results.values()]
        state_history["errors"] = [each["error"] and each["error"]["code"] for each in aggregation_results.values()]
        actions.go_to("done")

    @bp.handler
    def rescue(actions: Any) -> None:
        actions.dispatch_task("sweep", transitions={"success": "done"})

    @bp.handler(is_end=True)
    def done(thumbs: Any = None) -> Any:
        return thumbs

    return bp


def kinds(ended: RunResult) -> list[str]:
    return [recorded.entry.event_type for recorded in ended.history]


def resize(params: dict[str, Any]) -> Any:
    if params["photo"] == "broken":
        raise PermanentError("not a photo")
    return {"thumb": f"{params['photo']}.jpg"}


class TestParallel:
    def test_results_are_collected_in_the_order_of_dispatch(self) -> None:
        ended = run(album(), {"photos": ["a", "b", "c"]}, skills={"resize": resize})

        assert ended.status == "finished"
        assert ended.result == [{"thumb": "a.jpg"}, {"thumb": "b.jpg"}, {"thumb": "c.jpg"}]
        assert ended.states == ("split", "collect", "done")

    def test_the_history_tells_every_branch_and_the_join(self) -> None:
        ended = run(album(), {"photos": ["a", "b"]}, skills={"resize": resize})

        assert kinds(ended) == [
            "job_created",
            "state_entered",
            "task_dispatched",
            "task_dispatched",
            "task_taken",
            "branch_finished",
            "task_taken",
            "branch_finished",
            "branches_joined",
            "state_entered",
            "state_entered",
            "job_finished",
        ]

    def test_results_of_branches_are_no_part_of_the_state_history(self) -> None:
        ended = run(album(), {"photos": ["a"]}, skills={"resize": resize})

        assert "thumb" not in ended.state_history

    def test_an_empty_list_collects_at_once(self) -> None:
        ended = run(album(), {"photos": []}, skills={})

        assert (ended.status, ended.result) == ("finished", [])

    @pytest.mark.parametrize("count", [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 500])
    def test_many_are_sent_in_chunks(self, count: int) -> None:
        ended = run(album(), {"photos": list(range(count))}, skills={"resize": {"ok": True}})

        assert ended.status == "finished"
        assert ended.state_history["statuses"] == ["success"] * count
        assert kinds(ended).count("task_dispatched") == count

    def test_a_transient_failure_of_a_branch_is_tried_again(self) -> None:
        def flaky(params: dict[str, Any], attempt: int) -> Any:
            if params["photo"] == "b" and attempt < 3:
                raise TransientError("busy")
            return params["photo"]

        ended = run(album(), {"photos": ["a", "b"]}, skills={"resize": flaky})

        assert ended.result == [{"result": "a"}, {"result": "b"}]
        assert kinds(ended).count("task_retried") == 2

    def test_the_job_waits_for_parallel_work_meanwhile(self) -> None:
        ended = run(album(), {"photos": ["a", "b"]}, skills={"resize": NEVER_TAKEN})

        assert ended.status == "waiting_for_parallel"
        assert ended.job.current_state == "split"


class TestFailingBranches:
    def test_one_fails_the_job(self) -> None:
        ended = run(album(), {"photos": ["broken", "b"]}, skills={"resize": resize})

        assert ended.status == "failed"
        assert ended.error is not None
        assert ended.error["message"] == "not a photo"

    def test_its_siblings_are_given_up(self) -> None:
        ended = run(album(), {"photos": ["broken", "b"]}, skills={"resize": resize})

        assert kinds(ended).count("task_taken") == 1
        assert ended.job.fan_out is None
        assert not ended.job.tasks

    def test_one_whose_failure_leads_to_the_aggregator_is_collected(self) -> None:
        bp = album(transitions={"failure": "collect"})

        ended = run(bp, {"photos": ["a", "broken", "c"]}, skills={"resize": resize})

        assert ended.status == "finished"
        assert ended.state_history["statuses"] == ["success", "failure", "success"]
        assert ended.state_history["errors"] == [None, "PERMANENT_ERROR", None]

    def test_one_with_a_transition_of_its_own_takes_it(self) -> None:
        bp = album(transitions={"failure": "rescue"})

        ended = run(bp, {"photos": ["broken", "b"]}, skills={"resize": resize, "sweep": None})

        assert ended.status == "finished"
        assert ended.states == ("split", "rescue", "done")

    def test_one_that_nobody_takes_in_time_is_collected_as_a_timeout(self) -> None:
        bp = album(transitions={"timeout": "collect"}, dispatch_timeout=60)

        ended = run(bp, {"photos": ["a"]}, skills={"resize": NEVER_TAKEN})

        assert ended.status == "finished"
        assert ended.state_history["statuses"] == ["timeout"]
        assert ended.state_history["errors"] == ["DISPATCH_TIMEOUT"]

    def test_one_that_answers_a_word_that_nobody_knows_is_looked_at(self) -> None:
        ended = run(album(), {"photos": ["a", "b"]}, skills={"resize": {"status": "blurred"}})

        assert ended.status == "quarantined"
        assert ended.error is not None
        assert ended.error["code"] == "UNKNOWN_OUTCOME"


class TestSeveralTasks:
    def test_tasks_that_lead_to_one_aggregator_are_a_fan_out(self) -> None:
        bp = Blueprint("film")

        @bp.handler(is_start=True)
        def split(actions: Any) -> None:
            actions.dispatch_task("picture", transitions={"success": "mux"})
            actions.dispatch_task("sound", transitions={"success": "mux"})

        @bp.aggregator(is_end=True)
        def mux(aggregation_results: dict[str, Any]) -> Any:
            return [each["data"] for each in aggregation_results.values()]

        ended = run(bp, skills={"picture": {"track": 0}, "sound": {"track": 1}})

        assert ended.result == [{"track": 0}, {"track": 1}]

    def test_one_task_that_leads_to_an_aggregator_is_collected_too(self) -> None:
        bp = Blueprint("film")

        @bp.handler(is_start=True)
        def split(actions: Any) -> None:
            actions.dispatch_task("picture", transitions={"success": "mux"})

        @bp.aggregator(is_end=True)
        def mux(aggregation_results: dict[str, Any]) -> Any:
            return list(aggregation_results)

        assert run(bp, skills={"picture": 1}).result == ["test-1.1.1"]

    def test_several_that_lead_to_a_plain_state_are_refused(self) -> None:
        bp = Blueprint("film")

        @bp.handler(is_start=True)
        def split(actions: Any) -> None:
            actions.dispatch_task("picture", transitions={"success": "mux"})
            actions.dispatch_task("sound", transitions={"success": "mux"})

        @bp.handler(is_end=True)
        def mux() -> None: ...

        ended = run(bp, skills={})

        assert ended.status == "error"
        assert ended.error is not None
        assert "mark its handler with @bp.aggregator" in ended.error["message"]

    def test_a_second_fan_out_starts_afresh(self) -> None:
        bp = Blueprint("twice")

        @bp.handler(is_start=True)
        def first(actions: Any) -> None:
            actions.dispatch_parallel([{"type": "a"}, {"type": "a"}], "between")

        @bp.aggregator
        def between(aggregation_results: dict[str, Any], actions: Any) -> None:
            tasks = [{"type": "b", "params": {"n": n}} for n, _ in enumerate(aggregation_results)]
            actions.dispatch_parallel(tasks, "last")

        @bp.aggregator(is_end=True)
        def last(aggregation_results: dict[str, Any]) -> Any:
            return {task: each["data"] for task, each in aggregation_results.items()}

        ended = run(bp, skills={"a": 0, "b": lambda params: params})

        assert ended.result == {"test-1.2.1": {"n": 0}, "test-1.2.2": {"n": 1}}


class TestCompiler:
    def test_an_aggregator_that_no_task_leads_to_is_refused(self) -> None:
        bp = Blueprint("film")

        @bp.handler(is_start=True)
        def split(actions: Any) -> None:
            actions.go_to("mux")

        @bp.aggregator(is_end=True)
        def mux() -> None: ...

        with pytest.raises(BlueprintError, match=r"state 'mux', line .*: is an aggregator, but no dispatch_parallel"):
            bp.compile()

    def test_a_plain_state_cannot_collect(self) -> None:
        bp = Blueprint("film")

        @bp.handler(is_start=True)
        def split(actions: Any) -> None:
            actions.dispatch_parallel([{"task_type": "a"}], aggregate_into="mux")

        @bp.handler(is_end=True)
        def mux() -> None: ...

        with pytest.raises(
            BlueprintError, match=r"leads to 'mux', which is not an aggregator: mark its handler with @bp.ag"
        ):
            bp.compile()

    def test_task_types_in_the_list_are_known_to_the_plan(self) -> None:
        bp = Blueprint("film")

        @bp.handler(is_start=True)
        def split(initial_data: Any, actions: Any) -> None:
            actions.dispatch_parallel(
                tasks=[{"task_type": "cut", "params": {"at": at}} for at in initial_data["cuts"]],
                aggregate_into="mux",
            )

        @bp.aggregator(is_end=True)
        def mux() -> None: ...

        assert bp.plan.task_types == ("cut",)
        assert bp.plan.states["split"].aggregators == ("mux",)


class TestRefusedTasks:
    @pytest.mark.parametrize(
        ("tasks", "message"),
        [
            ("resize", "tasks must be a list of dicts, not 'resize'"),
            (["resize"], r"tasks\[0\] must be a dict, not 'resize'"),
            (
                [{"task_type": "resize", "parms": {}}],
                r"tasks\[0\] has the unknown key 'parms'; known are task_type, params",
            ),
            ([{"params": {}}], r"tasks\[0\]: the task type must be text, not None"),
            ([{"type": "a"}, {"type": "a", "priority": 11}], r"tasks\[1\]: priority must be a whole number, 0 to 9"),
            ([{"type": "a", "transitions": {"success": "rescue"}}], "'success' must lead to the aggregator 'collect'"),
        ],
    )
    def test_are_named_with_their_place(self, tasks: Any, message: str) -> None:
        bp = Blueprint("album")

        @bp.handler(is_start=True)
        def split(actions: Any) -> None:
            actions.dispatch_parallel(tasks, aggregate_into="collect")

        @bp.aggregator(is_end=True)
        def collect() -> None: ...

        ended = run(bp, skills={})

        assert ended.status == "error"
        with pytest.raises(AssertionError, match=message):
            raise AssertionError(str(ended.error))
