"""Schemas of results: valid schemas, violations and their place, and the effect on the job."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from avtomatika import Blueprint
from avtomatika.core.blueprint.output_schema import Fault, check_schema, fault_in
from avtomatika.errors import HandlerError
from avtomatika.testing import RunResult, run

FILM = {
    "type": "object",
    "required": ["output"],
    "properties": {"output": {"type": "string"}, "frames": {"type": "array", "items": {"$ref": "#/$defs/frame"}}},
    "$defs": {"frame": {"type": "integer", "minimum": 0}},
}


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ({"output": "/a", "frames": [1, 2]}, None),
        ({}, Fault("$", "'output' is a required property")),
        ({"output": 7}, Fault("$.output", "7 is not of type 'string'")),
        ({"output": "/a", "frames": [1, -2]}, Fault("$.frames[1]", "-2 is less than the minimum of 0")),
        (None, Fault("$", "None is not of type 'object'")),
    ],
)
def test_the_first_fault_is_told_with_its_path(data: Any, fault: Fault | None) -> None:
    assert fault_in(data, FILM) == fault


def test_a_long_value_is_not_repeated_in_full() -> None:
    fault = fault_in({"output": ["x" * 10_000]}, FILM)

    assert fault is not None
    assert len(fault.message) < 600


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "strin"}, r"\$\.type: 'strin' is not valid"),
        ({"pattern": "("}, "is not a 'regex'"),
        ({"$ref": "#/$defs/none"}, r"'/\$defs/none' cannot be resolved inside the schema"),
        ({"$ref": "http://127.0.0.1:9/schema.json"}, "external schemas are not fetched"),
    ],
)
def test_what_is_no_schema_is_refused(schema: dict[str, Any], said: str) -> None:
    with pytest.raises(HandlerError, match=f"output_schema is not a valid JSON Schema: .*{said}"):
        check_schema(schema, "output_schema")


def test_a_blueprint_without_schemas_does_not_pay_for_the_library() -> None:
    look = "import avtomatika.core.machine, sys; print('jsonschema' in sys.modules)"

    said = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout

    assert said.strip() == "False"


def film(schema: Any) -> Blueprint:
    bp = Blueprint(name="film")

    @bp.handler(is_start=True)
    def start(actions: Any) -> None:
        actions.dispatch_task(
            "encode", {}, transitions={"success": "end", "review": "end", "failure": "failed"}, output_schema=schema
        )

    @bp.handler(is_end=True)
    def end() -> None: ...

    @bp.handler(is_end="failed")
    def failed() -> None: ...

    return bp


def encoded(answer: Any, schema: Any = FILM) -> RunResult:
    return run(film(schema), skills={"encode": answer})


def test_a_result_that_fits_goes_its_way() -> None:
    assert encoded({"output": "/a"}).status == "finished"
    assert encoded({"output": "/a"}, None).status == "finished"


@pytest.mark.parametrize("status", ["success", "review"])
def test_a_result_that_breaks_it_is_quarantined_with_the_path(status: str) -> None:
    ended = encoded({"status": status, "data": {"output": "/a", "frames": ["x"]}})

    assert ended.status == "quarantined"
    assert ended.error == {
        "code": "CONTRACT_VIOLATION",
        "message": "the result of 'encode' breaks its output_schema at $.frames[0]: 'x' is not of type 'integer'",
        "path": "$.frames[0]",
    }
    assert ended.state_history == {}


def test_a_failure_need_not_fit() -> None:
    assert encoded({"status": "failure", "error": {"code": "PERMANENT_ERROR"}}).status == "failed"


def test_a_handler_with_a_wrong_schema_ends_the_job_as_error() -> None:
    ended = encoded({"output": "/a"}, {"type": "strin"})

    assert ended.status == "error"
    assert ended.error is not None
    assert "dispatch_task: output_schema is not a valid JSON Schema: $.type" in ended.error["message"]
