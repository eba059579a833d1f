"""JSON forms of values; errors name the place and the type of a value without one."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given, strategies as st

from avtomatika.core.jsonable import MAX_DEPTH, as_json
from avtomatika.core.value_types import value_type
from avtomatika.errors import HandlerError

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


class Broken:
    def __fspath__(self) -> str:
        raise RuntimeError("no path")


class Colour(Enum):
    RED = "red"


@dataclass
class Order:
    id: UUID
    at: datetime
    price: Decimal
    tags: frozenset[str]
    limit: timedelta
    day: date
    hour: time
    key: bytes
    path: Path
    colour: Colour
    size: tuple[int, int]


ORDER = Order(
    UUID(int=1),
    datetime(2030, 1, 31, 12, tzinfo=UTC),
    Decimal("9.90"),
    frozenset("ba"),
    timedelta(minutes=1.5),
    date(2030, 1, 31),
    time(12, 30),
    b"\x00\xff",
    Path("/a"),
    Colour.RED,
    (1, 2),
)


@given(JSON)
def test_json_stays_as_it_is_and_can_be_encoded(value: Any) -> None:
    plain = as_json(value, "it")

    assert plain == value
    assert orjson.loads(orjson.dumps(plain)) == json.loads(json.dumps(plain)) == value


def test_answers_a_copy_with_tuples_as_lists() -> None:
    value = {"a": ({"b": 1},), "c": OrderedDict(d=2)}

    plain = as_json(value, "it")
    value["a"][0]["b"] = 3  # type: ignore[index]  # it is a dict in a tuple

    assert plain == {"a": [{"b": 1}], "c": {"d": 2}}


def test_members_of_enums_become_their_values() -> None:
    class Colour(StrEnum):
        RED = "red"

    class Size(IntEnum):
        LARGE = 3

    plain = as_json({Colour.RED: [Colour.RED, Size.LARGE]}, "it")

    assert [type(item) for item in (*plain, *plain["red"])] == [str, str, int]
    assert plain == {"red": ["red", 3]}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3j, "it is of type complex, which has no JSON form: convert it to a dict, a dataclass, text or a number"),
        ({"a": [0, iter([1])]}, "it.a[1] is of type list_iterator, which has no JSON form: convert it with list(...)"),
        ({"a b": [Order]}, "it['a b'][0] is the class Order, which has no JSON form: use an instance or its name"),
        (
            {"a": {"b": datetime(2024, 1, 1)}},
            "it.a.b is a datetime without a time zone: use datetime.now(UTC), or .replace(tzinfo=...)",
        ),
        ([float("-inf")], "it[0] is -inf, which JSON cannot represent: use None or text"),
        ([2**64], "it[0] is an integer of more than 64 bits, which JSON cannot represent: convert it to text"),
        ({"a": "\ud800"}, "it.a contains a lone surrogate, which JSON cannot represent"),
        ({"a": {None: 1}}, "it.a has the key None, of type NoneType; keys of JSON objects must be text"),
        ([Broken()], "it[0] of type Broken cannot be converted: RuntimeError: no path"),
    ],
)
def test_anything_else_says_where_it_stands(value: Any, message: str) -> None:
    with pytest.raises(HandlerError, match=f"^{re.escape(message)}$"):
        as_json(value, "it")


def test_each_useful_type_has_a_form_that_its_annotation_reads() -> None:
    plain = as_json({"order": ORDER}, "it")["order"]

    assert plain == {
        "id": "00000000-0000-0000-0000-000000000001",
        "at": "2030-01-31T12:00:00Z",
        "price": "9.90",
        "tags": ["a", "b"],
        "limit": 90.0,
        "day": "2030-01-31",
        "hour": "12:30:00",
        "key": "AP8=",
        "path": "/a",
        "colour": "red",
        "size": [1, 2],
    }
    assert value_type(Order).load(plain, "it") == ORDER


def test_values_of_other_libraries_have_the_form_that_these_define() -> None:
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("Model", at=(datetime, pydantic.Field(alias="when")))

    class Float32:
        """As a scalar of numpy."""

        shape = ()

        def item(self) -> float:
            return 0.5

    assert as_json([model(when=datetime(2030, 1, 31, tzinfo=UTC)), Float32()], "it") == [
        {"when": "2030-01-31T00:00:00Z"},
        0.5,
    ]


def test_what_contains_itself_has_an_end() -> None:
    circle: list[Any] = []
    circle.append(circle)

    with pytest.raises(HandlerError, match=f"is nested deeper than {MAX_DEPTH} levels, or contains itself"):
        as_json(circle, "it")
