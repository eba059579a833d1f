"""Blueprints with types for their input and output."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NotRequired, Required, TypedDict

import marshmallow
import pytest

from avtomatika import Blueprint, F, JobStatus
from avtomatika.core.data_checks import check_input
from avtomatika.errors import BlueprintError, InvalidRequestError
from avtomatika.testing import run

pydantic = pytest.importorskip("pydantic")


@dataclass
class Order:
    size: int
    limit: timedelta = timedelta(minutes=1)


class OrderDict(TypedDict, total=False):
    size: Required[int]
    limit: NotRequired[timedelta]


class OrderModel(pydantic.BaseModel):  # type: ignore[misc]
    size: int
    limit: timedelta = timedelta(minutes=1)


class OrderSchema(marshmallow.Schema):
    size = marshmallow.fields.Integer(required=True, strict=True)
    limit = marshmallow.fields.TimeDelta(load_default=timedelta(minutes=1))


@dataclass
class Receipt:
    total: int
    paid: bool = False


def blueprint(input: Any = Order, output: Any = None) -> Blueprint:
    bp = Blueprint("order", input=input, output=output)

    @bp.handler(is_start=True, is_end=True)
    def start(initial_data: dict[str, Any]) -> object:
        return initial_data["size"] if output is None else {"total": initial_data["size"]}

    return bp


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        (Order, {"size": 3, "limit": 60.0}),
        (OrderDict, {"size": 3}),
        (OrderModel, {"size": 3, "limit": "PT1M"}),
        (OrderSchema, {"size": 3, "limit": 60.0}),
    ],
)
def test_data_are_checked_and_their_defaults_filled_in(kind: Any, stored: Any) -> None:
    plan = blueprint(kind).plan

    checked = check_input(plan, {"size": 3})

    assert checked == stored
    assert check_input(plan, checked) == stored
    with pytest.raises(InvalidRequestError) as caught:
        check_input(plan, {"size": "large"})
    assert list(caught.value.fields["initial_data"]) == ["size"]  # type: ignore[call-overload]
    with pytest.raises(InvalidRequestError, match=r"initial_data\.size: .*(is missing|required)"):
        check_input(plan, {})


def test_a_typed_handler_gets_what_a_typed_caller_gives() -> None:
    bp = Blueprint("order", input=Order)

    @bp.handler(is_start=True, is_end=True)
    def start(initial_data: Order) -> timedelta:
        return 2 * initial_data.limit

    assert run(bp, Order(3)).result == 120.0
    with pytest.raises(InvalidRequestError, match=r"^initial_data\.size: is missing$"):
        run(bp, {})


def test_the_result_is_checked_and_its_defaults_filled_in() -> None:
    good, bad = run(blueprint(output=Receipt), {"size": 3}), run(blueprint(output=list[int]), {"size": 3})

    assert (good.status, good.result) == (JobStatus.FINISHED, {"total": 3, "paid": False})
    assert (bad.status, bad.error["code"]) == (JobStatus.FAILED, "INVALID_OUTPUT")  # type: ignore[index]
    assert bad.error["message"] == "result: is {'total': 3}, but must be a list"  # type: ignore[index]
    ended = bad.history[-1].entry
    assert (ended.event_type, ended.data["error"]["code"]) == ("job_failed", "INVALID_OUTPUT")  # type: ignore[index]


def test_a_child_with_invalid_data_is_an_error_of_its_parent() -> None:
    parent = Blueprint("parent")

    @parent.handler(is_start=True)
    def start(actions: Any) -> None:
        actions.run_blueprint("order", {"size": "large"}, transitions={"success": "done"})

    @parent.handler(is_end=True)
    def done() -> None: ...

    ended = run(parent, blueprints=[blueprint()])

    assert ended.status is JobStatus.ERROR
    assert ended.error == {
        "code": "INVALID_INITIAL_DATA",
        "message": "run_blueprint('order'): initial_data.size: is 'large', but must be a whole number",
    }


def test_types_are_no_part_of_the_routing_and_plans_can_be_pickled() -> None:
    typed, plain = blueprint().plan, blueprint(None).plan

    assert typed.plan_hash == plain.plan_hash
    assert pickle.dumps(typed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"input": int},
            "input: is annotated with int, but must be a dict, a dataclass, a TypedDict",
        ),
        ({"output": Blueprint}, "output: the type Blueprint is not supported"),
    ],
)
def test_unsupported_types_are_rejected(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BlueprintError, match=message):
        Blueprint("order", **options)


def test_the_compiler_finds_unknown_fields_of_the_input() -> None:
    by_key = Blueprint("order", input=Order)

    @by_key.handler(is_start=True, is_end=True)
    def start(initial_data: dict[str, Any], context: Any) -> object:
        return context.initial_data.get("limit"), initial_data["sizes"]

    by_attribute = Blueprint("order", input=Order)

    @by_attribute.handler("start", is_start=True, is_end=True)
    def typed(initial_data: Order) -> object:
        return initial_data.size, initial_data.colour  # type: ignore[attr-defined]

    by_guard = Blueprint("order", input=Order)

    @by_guard.handler("start", (F.initial_data.size > 3) & ~(F.initial_data["lines"] == 2), is_start=True, is_end=True)
    def guarded() -> None: ...

    with pytest.raises(BlueprintError, match=r"line \d+: initial_data has no 'sizes'; did you mean 'size'\?"):
        by_key.compile()
    with pytest.raises(BlueprintError, match="initial_data has no 'colour'; known are limit, size"):
        by_attribute.compile()
    with pytest.raises(BlueprintError, match=r"initial_data has no 'lines'; known are limit, size"):
        by_guard.compile()
