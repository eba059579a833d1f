"""Blueprints run in memory: as the whole system runs them, in no time."""

from __future__ import annotations

import asyncio
import doctest
from typing import Any

import pytest

from avtomatika import Blueprint, InvalidInputError, PermanentError, TransientError, Worker, testing
from avtomatika.core.job import JobStatus
from avtomatika.errors import SkillError

from .support.history_replay import replay


def film(**options: Any) -> Blueprint:
    bp = Blueprint(name="film")

    @bp.handler(is_start=True)
    async def start(initial_data: dict[str, Any], actions: Any) -> None:
        transitions = {"success": "publish", "failure": "failed", "review": "look"}
        await actions.dispatch_task("encode", {"path": initial_data["path"]}, transitions=transitions, **options)

    @bp.handler(queue="desk")
    def look(state_history: dict[str, Any], actions: Any) -> None:
        state_history["looked"] = True
        actions.go_to("publish")

    @bp.handler(is_end=True)
    def publish(output: str) -> str:
        return output

    @bp.handler(is_end="failed")
    def failed(error: dict[str, Any]) -> dict[str, Any]:
        return error

    return bp


def test_the_example_of_the_docstring_holds() -> None:
    assert doctest.testmod(testing).failed == 0


def test_a_job_runs_to_its_end_and_tells_its_history() -> None:
    ended = testing.run(film(), {"path": "/a"}, skills={"encode": {"output": "/b"}})

    assert (ended.status, ended.result, ended.states) == (JobStatus.FINISHED, "/b", ("start", "publish"))
    assert [entry.entry.event_type for entry in ended.history] == [
        "job_created",
        "state_entered",
        "task_dispatched",
        "task_taken",
        "task_succeeded",
        "state_entered",
        "job_finished",
    ]
    assert [entry.seq for entry in ended.history] == list(range(1, 8))


def test_skills_may_be_a_worker_functions_sync_or_async_or_plain_results() -> None:
    worker = Worker()

    @worker.skill()
    async def encode(params: dict[str, Any], attempt: int) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"output": f"{params['path']}:{attempt}"}

    def encode_in_a_thread(params: dict[str, Any]) -> dict[str, Any]:
        return {"output": params["path"]}

    assert testing.run(film(), {"path": "/a"}, skills=worker).result == "/a:1"
    assert testing.run(film(), {"path": "/a"}, skills={"encode": encode_in_a_thread}).result == "/a"
    assert testing.run(film(), {"path": "/a"}, skills={"encode": {"output": "/c"}}).result == "/c"


def test_an_outcome_of_ones_own_goes_its_own_way_through_another_queue() -> None:
    answer = {"status": "review", "data": {"output": "/b"}}

    ended = testing.run(film(), {"path": "/a"}, skills={"encode": answer})

    assert ended.states == ("start", "look", "publish")
    assert ended.state_history == {"output": "/b", "looked": True}


def test_back_off_takes_no_time_but_shows_on_the_clock() -> None:
    calls: list[int] = []

    def encode(attempt: int) -> dict[str, Any]:
        calls.append(attempt)
        if attempt < 4:
            raise TransientError("busy")
        return {"output": "/b"}

    ended = testing.run(film(max_retries=3), {"path": "/a"}, skills={"encode": encode})

    assert (ended.status, calls) == (JobStatus.FINISHED, [1, 2, 3, 4])
    assert ended.seconds > 3


@pytest.mark.parametrize(
    ("skill", "code"),
    [
        (PermanentError("no"), "PERMANENT_ERROR"),
        (InvalidInputError("what?"), "INVALID_INPUT_ERROR"),
        (TransientError, "TRANSIENT_ERROR"),
        (ZeroDivisionError("x"), "TRANSIENT_ERROR"),
    ],
)
def test_a_failure_for_good_takes_its_transition(skill: Any, code: str) -> None:
    ended = testing.run(film(), {"path": "/a"}, skills={"encode": skill})

    assert (ended.status, ended.states[-1]) == (JobStatus.FAILED, "failed")
    assert ended.result["code"] == code


@pytest.mark.parametrize(
    ("absent", "options", "code"),
    [
        (testing.NEVER_TAKEN, {"dispatch_timeout": 3600}, "DISPATCH_TIMEOUT"),
        (testing.NEVER_ANSWERS, {"result_timeout": 7200}, "RESULT_TIMEOUT"),
    ],
)
def test_time_limits_pass_at_once(absent: Any, options: dict[str, Any], code: str) -> None:
    ended = testing.run(film(**options), {"path": "/a"}, skills={"encode": absent})

    assert (ended.status, ended.result["code"]) == (JobStatus.FAILED, code)
    assert ended.seconds == max(options.values())


def test_a_job_that_waits_for_nobody_comes_to_rest() -> None:
    assert testing.run(film(), {"path": "/a"}, skills={"encode": testing.NEVER_TAKEN}).status == "waiting_for_worker"


def test_an_unknown_word_quarantines() -> None:
    ended = testing.run(film(), {"path": "/a"}, skills={"encode": {"status": "splendid"}})

    assert ended.status is JobStatus.QUARANTINED
    assert ended.error is not None
    assert "'splendid'" in ended.error["message"]


def test_a_handler_that_raises_ends_as_error_with_its_traceback() -> None:
    ended = testing.run(film(), {}, skills={})

    assert ended.status is JobStatus.ERROR
    assert ended.error is not None
    assert "KeyError: 'path'" in ended.error["traceback"]


def test_a_task_that_nothing_is_given_for_is_named() -> None:
    with pytest.raises(SkillError, match=r"no skill for the task 'encode'.*known are other"):
        testing.run(film(), {"path": "/a"}, skills={"other": 1})


def test_the_history_replays_to_the_job() -> None:
    ended = testing.run(film(), {"path": "/a"}, skills={"encode": {"status": "review", "data": {"output": "/b"}}})

    again = replay(ended.job, [recorded.entry for recorded in ended.history])

    assert (again.status, again.current_state, again.state_history) == (
        ended.status,
        ended.job.current_state,
        ended.state_history,
    )
