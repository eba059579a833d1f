"""Limits and fairness keys of a blueprint, and how its tasks are sent with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from avtomatika import Blueprint, F
from avtomatika.core.blueprint.action_types import DispatchTask, FanOut
from avtomatika.core.events import RetryTask
from avtomatika.core.job import Job
from avtomatika.core.job_request import JobRequest
from avtomatika.core.machine import task_results
from avtomatika.core.machine.creation import new_job
from avtomatika.core.machine.decisions import decide
from avtomatika.core.signing import GroupSecret
from avtomatika.core.step import SendTask, Step
from avtomatika.errors import BlueprintError, InvalidRequestError
from avtomatika.store.messages import task_message
from avtomatika.testing import run

ACCOUNT = "{initial_data[account]}"


def bank(**options: Any) -> Blueprint:
    """Transfers money, three at a time from an account."""
    bp = Blueprint("bank", **options)

    @bp.handler(is_start=True)
    @bp.limit(key=f"acct-{ACCOUNT}", concurrency=3)
    @bp.limit(key="all", rate="100/m")
    def transfer(actions: Any) -> None:
        actions.dispatch_task("move", transitions={"success": "done", "failure": "done"})

    @bp.handler(is_end=True)
    def done() -> None: ...

    return bp


def decided(bp: Blueprint, initial_data: dict[str, Any], action: Any = None, **patch: Any) -> Step:
    job = new_job(bp.plan, JobRequest(initial_data=initial_data), job_id="g0-1", client="acme").job
    action = action or DispatchTask("move", transitions={"success": "done"})
    return decide(bp.plan, job, action, queue=None, patch=patch)


def sent(step: Step) -> list[SendTask]:
    return [each for each in step.outgoing if isinstance(each, SendTask)]


ACCOUNT_7 = ["key:acct-7", {"concurrency": 3}]
ALL = ["key:all", {"rate": 100, "per_ms": 60_000}]


class TestLimitsOfAState:
    def test_a_task_is_sent_with_the_limits_of_its_state(self) -> None:
        [task] = sent(decided(bank(), {"account": 7}))

        assert sorted(task.limits) == [ACCOUNT_7, ALL]

    def test_a_limit_may_stand_above_the_handler_too(self) -> None:
        bp = Blueprint("bank")

        @bp.limit(key="{state_history[account]}", concurrency=1)
        @bp.handler(is_start=True)
        def transfer(actions: Any) -> None:
            actions.dispatch_task("move", transitions={"success": "done"})

        @bp.handler(is_end=True)
        def done() -> None: ...

        [task] = sent(decided(bp, {}, account="x"))

        assert task.limits == (["key:x", {"concurrency": 1}],)

    def test_a_retry_has_the_same_limits(self) -> None:
        bp = bank()
        job = decided(bp, {"account": 7}).job
        [task] = job.tasks.values()
        closed = job.evolve(tasks={task.id: type(task)(**{**_fields(task), "is_open": False, "attempt": 2})})

        step = task_results.retry(bp.plan, closed, RetryTask(job.id, task.id, 2))

        assert ACCOUNT_7 in sent(step)[0].limits

    def test_a_job_without_the_data_ends_with_the_name_of_what_is_missing(self) -> None:
        ended = run(bank(), {"acount": 7}, skills={"move": dict})

        assert ended.status == "error"
        assert ended.error is not None
        assert ended.error["code"] == "INVALID_LIMIT_KEY"
        assert "initial_data[account] must be text or a number, not None" in ended.error["message"]

    def test_limits_do_not_change_the_plan(self) -> None:
        plain = Blueprint("bank")

        @plain.handler(is_start=True)
        def transfer(actions: Any) -> None:
            actions.dispatch_task("move", transitions={"success": "done", "failure": "done"})

        @plain.handler(is_end=True)
        def done() -> None: ...

        assert plain.plan.plan_hash == bank().plan.plan_hash

    def test_all_handlers_of_a_state_have_its_limits(self) -> None:
        bp = Blueprint("bank")

        @bp.handler("transfer", F.initial_data["fast"] == True, is_start=True)  # noqa: E712
        @bp.limit(key="fast", concurrency=1)
        def fast(actions: Any) -> None:
            actions.dispatch_task("move", transitions={"success": "done"})

        @bp.handler("transfer")
        def slow(actions: Any) -> None:
            actions.dispatch_task("move", transitions={"success": "done"})

        @bp.handler(is_end=True)
        def done() -> None: ...

        assert [key.text for key, _ in bp.plan.states["transfer"].limits] == ["fast"]


class TestMistakes:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"key": "a"}, "limit: concurrency or rate must be given"),
            ({"key": "a", "concurrency": 0}, "limit: concurrency must be"),
            ({"key": "a", "rate": "fast"}, "limit: rate is 'fast'"),
            ({"key": "{account}", "rate": "1/s"}, "limit: key must be text with places such as"),
        ],
    )
    def test_invalid_limits_are_refused_where_they_are_written(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(BlueprintError, match=message):
            Blueprint("bank").limit(**options)

    def test_a_key_that_the_input_cannot_have_is_refused_with_the_similar_name(self) -> None:
        @dataclass
        class Transfer:
            account: int

        with pytest.raises(BlueprintError, match="names 'acount', but the input has account"):
            Blueprint("bank", input=Transfer).limit(key="{initial_data[acount]}", concurrency=1)

    def test_a_limit_at_a_state_without_tasks_is_refused(self) -> None:
        bp = Blueprint("bank")

        @bp.handler(is_start=True, is_end=True)
        @bp.limit(key="a", concurrency=1)
        def only() -> None: ...

        with pytest.raises(BlueprintError, match="the limit 'a' must be at a handler that dispatches tasks"):
            bp.compile()

    def test_a_limit_at_a_function_that_is_no_handler_is_refused(self) -> None:
        bp = bank()
        bp.limit(key="a", concurrency=1)(print)

        with pytest.raises(BlueprintError, match="the limit 'a' must be at a handler that dispatches tasks"):
            bp.compile()


class TestFanOut:
    def test_its_branches_share_one_limit(self) -> None:
        bp = album()
        tasks = tuple(DispatchTask("move", transitions={"success": "collect"}) for _ in range(3))

        step = decided(bp, {}, FanOut(tasks, "collect", 2))

        assert [each.limits for each in sent(step)] == 3 * [(["fan-out:g0-1.1", {"concurrency": 2}],)]

    def test_it_ends_as_without_a_limit(self) -> None:
        ended = run(album(), skills={"move": lambda params: params})

        assert ended.status == "finished"

    def test_a_limit_below_one_is_refused_before_a_job_runs(self) -> None:
        with pytest.raises(BlueprintError, match="dispatch_parallel: max_concurrency"):
            album_of_none().compile()


def album() -> Blueprint:
    bp = Blueprint("album")

    @bp.handler(is_start=True)
    def split(actions: Any) -> None:
        actions.dispatch_parallel([{"type": "move"}] * 3, aggregate_into="collect", max_concurrency=2)

    @bp.aggregator(is_end=True)
    def collect() -> None: ...

    return bp


def album_of_none() -> Blueprint:
    bp = Blueprint("album")

    @bp.handler(is_start=True)
    def split(actions: Any) -> None:
        actions.dispatch_parallel([{"type": "move"}] * 3, aggregate_into="collect", max_concurrency=0)

    @bp.aggregator(is_end=True)
    def collect() -> None: ...

    return bp


class TestFairness:
    def job(self, bp: Blueprint, **request: Any) -> Job:
        return new_job(bp.plan, JobRequest(**request), job_id="g0-1", client="acme").job

    def flow(self, job: Job, limits: Any = ()) -> Any:
        [task] = decide(bank().plan, job, DispatchTask("move"), queue=None, patch={}).job.tasks.values()
        return task_message(job, task, GroupSecret("secret"), limits=limits).headers["x-flow"]

    def test_the_key_of_a_task_is_the_client_of_its_job(self) -> None:
        flow = self.flow(self.job(bank(), initial_data={"account": 7}), [ACCOUNT_7])

        assert flow == {"key": "acme", "limits": ["skill:move", "client:acme", "blueprint:bank", ACCOUNT_7]}

    def test_a_request_may_name_another_key(self) -> None:
        assert self.flow(self.job(bank(), initial_data={"account": 7}, fairness_key="north"))["key"] == "north"

    def test_a_blueprint_makes_the_key_of_its_data(self) -> None:
        bp = bank(fairness_key="tenant-{initial_data[account]}")

        assert self.job(bp, initial_data={"account": 7}).fairness_key == "tenant-7"

    def test_a_job_without_the_data_of_its_key_is_not_created(self) -> None:
        with pytest.raises(InvalidRequestError, match=r"initial_data\[account\] must be text"):
            self.job(bank(fairness_key=ACCOUNT))

    def test_results_cannot_be_part_of_the_key_of_a_blueprint(self) -> None:
        with pytest.raises(BlueprintError, match="fairness_key"):
            Blueprint("bank", fairness_key="{state_history[account]}")


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}
