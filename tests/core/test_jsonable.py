"""Is it JSON? What is not says where it stands and what it is."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avtomatika.core.jsonable import MAX_DEPTH, as_json
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
        ({1, 2}, "it is of type set, which JSON cannot represent"),
        ({"a": [0, b"x"]}, "it['a'][1] is of type bytes, which JSON cannot represent"),
        ({"a": {"b": datetime(2024, 1, 1)}}, "it['a']['b'] is of type datetime, which JSON cannot represent"),
        ([float("-inf")], "it[0] is -inf, which JSON cannot represent"),
        ([2**64], "it[0] is an integer of more than 64 bits, which JSON cannot represent"),
        ({"a": "\ud800"}, "it['a'] contains a lone surrogate, which JSON cannot represent"),
        ({"a": {None: 1}}, "it['a'] has the key None, of type NoneType; keys of JSON objects must be text"),
    ],
)
def test_anything_else_says_where_it_stands(value: Any, message: str) -> None:
    with pytest.raises(HandlerError, match=f"^{re.escape(message)}$"):
        as_json(value, "it")


def test_what_contains_itself_has_an_end() -> None:
    circle: list[Any] = []
    circle.append(circle)

    with pytest.raises(HandlerError, match=f"is nested deeper than {MAX_DEPTH} levels, or contains itself"):
        as_json(circle, "it")
