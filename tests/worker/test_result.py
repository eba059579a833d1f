from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from avtomatika.core.events import Result
from avtomatika.errors import InvalidInputError, PermanentError, TransientError
from avtomatika.schemas import wire
from avtomatika.worker import result
from avtomatika.worker.result import MAX_ERROR_BYTES


@dataclass
class Report:
    status: str
    id: UUID


TASK = wire.TaskMessage("g0-1", "g0-1.1.0", 2, "encode", {}, ("success",), "avt.steps", "video@0123abcd.a")

#: A busy machine must not fail the test.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def result_of_value(value: Any) -> Result:
    return result.result_of_value(value, TASK, worker_id="worker-1", duration_ms=5)


def result_of_error(problem: BaseException) -> Result:
    try:
        raise problem
    except BaseException as caught:
        return result.result_of_error(caught, TASK, worker_id="worker-1", duration_ms=5)


# ---------------------------------------------------------------- returned


def test_a_result_names_its_task_worker_and_duration() -> None:
    assert result_of_value({"n": 1}) == Result("g0-1", "g0-1.1.0", 2, "success", {"n": 1}, None, "worker-1", 5)


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ({}, {}),
        ({"size": 3}, {"size": 3}),
        ({"status": 3}, {"status": 3}),
        ({"status": "done", "size": 3}, {"status": "done", "size": 3}),
        ({"data": {"size": 3}}, {"data": {"size": 3}}),
        ([1, 2], {"result": [1, 2]}),
        ((1, 2), {"result": [1, 2]}),
        ("text", {"result": "text"}),
        (None, {"result": None}),
        (3.5, {"result": 3.5}),
        (Path("/out/a.mp4"), {"result": "/out/a.mp4"}),
        (Report("done", UUID(int=1)), {"status": "done", "id": "00000000-0000-0000-0000-000000000001"}),
        ([timedelta(seconds=1.5)], {"result": [1.5]}),
    ],
)
def test_a_plain_value_is_a_success(value: object, data: object) -> None:
    answer = result_of_value(value)

    assert (answer.status, answer.data, answer.error) == ("success", data, None)


def test_an_envelope_sets_the_status() -> None:
    answer = result_of_value({"status": "needs_review", "data": {"page": 3}})

    assert (answer.status, answer.data) == ("needs_review", {"page": 3})


def test_an_envelope_can_be_a_failure() -> None:
    error = {"code": "PERMANENT_ERROR", "message": "no such page", "details": {"page": 3}}

    answer = result_of_value({"status": "failure", "error": error})

    assert (answer.status, answer.data, answer.error) == ("failure", None, error)


def test_a_string_error_becomes_its_message() -> None:
    assert result_of_value({"status": "failure", "error": "no such page"}).error == {"message": "no such page"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"tags": [1, 3j]}, "result.tags[1] is of type complex, which has no JSON form: convert it to a dict"),
        ({"ratio": math.nan}, "result.ratio is nan, which JSON cannot represent"),
        ({3: "a"}, "result has the key 3"),
        (object(), "result is of type object, which has no JSON form"),
        ({"status": "failure", "error": {"cause": ValueError()}}, "result.error.cause is of type ValueError"),
        ({"status": "half \ud800"}, "result.status contains a lone surrogate"),
        ({"status": ""}, "result.status has 0 characters"),
        ({"status": "x" * 1000}, "result.status has 1000 characters"),
    ],
)
def test_a_value_that_json_cannot_represent_is_a_permanent_failure(value: object, message: str) -> None:
    answer = result_of_value(value)

    assert answer.status == "failure"
    assert answer.error is not None
    assert answer.error["code"] == "PERMANENT_ERROR"
    assert message in answer.error["message"]


def test_an_error_that_is_too_large_is_a_failure_that_names_size_and_limit() -> None:
    answer = result_of_value({"status": "failure", "error": {"message": "x" * MAX_ERROR_BYTES}})

    assert (answer.status, answer.data) == ("failure", None)
    assert answer.error is not None
    assert answer.error["code"] == "RESULT_TOO_LARGE"
    assert "65550 bytes" in answer.error["message"]
    assert "65536" in answer.error["message"]


class Odd:
    pass


anything = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(st.characters()) | st.binary() | st.just(Odd()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["status", "data", "error", 3]) | st.text(), inner, max_size=4)
    ),
    max_leaves=8,
)


@patient
@given(anything)
def test_any_return_value_gives_a_result_that_can_be_sent(value: object) -> None:
    answer = result_of_value(value)

    assert wire.load_event(wire.dump_event(answer)) == answer


# ---------------------------------------------------------------- raised


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (TransientError("busy"), "TRANSIENT_ERROR"),
        (PermanentError("busy"), "PERMANENT_ERROR"),
        (InvalidInputError("busy"), "INVALID_INPUT_ERROR"),
    ],
)
def test_our_errors_say_whether_a_retry_can_help(problem: Exception, code: str) -> None:
    answer = result_of_error(problem)

    assert (answer.status, answer.data, answer.error) == ("failure", None, {"code": code, "message": "busy"})


@pytest.mark.parametrize("problem", [ValueError("boom"), KeyError("boom"), SystemExit("boom"), MemoryError("boom")])
def test_any_other_exception_is_transient_and_shows_where_it_happened(problem: BaseException) -> None:
    error = result_of_error(problem).error

    assert error is not None
    assert error["code"] == "TRANSIENT_ERROR"
    assert error["message"].startswith(type(problem).__name__)
    assert "boom" in error["message"]
    assert "raise problem" in error["traceback"]


def test_an_exception_with_a_broken_str_is_still_a_result() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    error = result_of_error(Broken()).error

    assert error is not None
    assert error["message"] == "Broken: (its text is not available: RuntimeError)"


@patient
@given(st.text(st.characters()))
def test_any_exception_message_can_be_sent(text: str) -> None:
    answer = result_of_error(ValueError(text * 100))

    assert wire.load_event(wire.dump_event(answer)) == answer
