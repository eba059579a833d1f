"""``F``: conditions that hold, conditions that do not, and errors when one is created."""

from __future__ import annotations

import operator
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from avtomatika import Blueprint, F
from avtomatika.core.blueprint.conditions import Condition
from avtomatika.core.blueprint.job_context import ClientInfo, JobContext
from avtomatika.core.job import Job
from avtomatika.errors import BlueprintError

JOB = Job(
    id="g0-1",
    blueprint="shop",
    plan_hash="00000000",
    current_state="pack",
    client="acme",
    initial_data={"size": 5, "name": "box-17", "tags": ["red", "small"], "to": {"city": "Bonn"}, "get": "it"}
    | {"lines": [{"price": 5, "sizes": [1]}, {"price": 12, "sizes": [3, 4]}], "most": 20, "nothing": []},
    state_history={"weight": 2.5, "limit": 5},
)
CONTEXT = JobContext(JOB, client=ClientInfo("acme", plan="gold", params={"quota": 3}))


@pytest.mark.parametrize(
    "condition",
    [
        F.initial_data["size"] == 5,
        F.initial_data.size != 6,
        F.initial_data["size"] < 6,
        F.initial_data["size"] <= 5,
        F.initial_data["size"] > 4,
        F.initial_data["size"] >= 5,
        F.initial_data["to"]["city"] == "Bonn",
        F.initial_data.to.city == "Bonn",
        F.initial_data["tags"][0] == "red",
        F.initial_data.get == "it",
        F.initial_data["size"].in_([1, 5]),
        F.initial_data["name"].matches(r"^box-\d+$"),
        F.state_history["weight"] == 2.5,
        F.initial_data.size == F.state_history.limit,
        F.client.plan == "gold",
        F.client.params["quota"] >= 3,
        F.job_id == "g0-1",
        F.current_state == "pack",
        F.error == None,  # noqa: E711 - a condition, not a comparison
        (F.initial_data.size > 9) | (F.initial_data.name == "box-17"),
        (F.initial_data.size > 1) & ~(F.initial_data.name == "bag"),
        ~(F.initial_data.missing == 1),
        F.initial_data.tags.any_(F.item == "red"),
        F.initial_data["lines"].any_(F.item["price"] > 10),
        F.initial_data["lines"].all_((F.item["price"] > 1) & (F.item["price"] < F.initial_data.most)),
        F.initial_data["lines"].any_(F.item["sizes"].all_(F.item > 2)),
        F.initial_data["nothing"].all_(F.item == 1),
        ~F.initial_data["nothing"].any_(F.item == 1),
        ~F.initial_data["missing"].all_(F.item == 1),
    ],
    ids=str,
)
def test_holds(condition: Condition) -> None:
    assert condition.holds(CONTEXT)


@pytest.mark.parametrize(
    "condition",
    [
        F.initial_data["missing"] == None,  # noqa: E711 - a condition, not a comparison
        F.initial_data["missing"] != 1,
        F.initial_data["to"]["street"]["number"] == 1,
        F.initial_data["tags"][7] == "red",
        F.initial_data["size"]["deeper"] == 1,
        F.initial_data["name"] > 3,
        F.initial_data["size"].matches("5"),
        F.initial_data["tags"].in_({"red"}),
        F.initial_data.size == F.state_history.missing,
        F.client.nothing == 1,
        F.error["code"] == "X",
        (F.initial_data.size == 5) & (F.initial_data.missing == 5),
        (F.initial_data.size == 4) | (F.initial_data.missing == 5),
        F.initial_data["lines"].all_(F.item["price"] > 10),
        F.initial_data["lines"].any_(F.item["colour"] == "red"),
        F.initial_data["missing"].all_(F.item == 1),
        F.initial_data["name"].any_(F.item == "b"),
        F.initial_data["to"].any_(F.item == "city"),
        F.initial_data["size"]["deeper"].any_(F.item == 1),
    ],
    ids=str,
)
def test_what_is_missing_or_cannot_be_compared_does_not_hold(condition: Condition) -> None:
    assert not condition.holds(CONTEXT)


def test_sees_the_error_that_led_here() -> None:
    failed = JobContext(replace(JOB, error={"code": "GPU_LOST", "message": "gone"}))

    assert (F.error["code"] == "GPU_LOST").holds(failed)


@pytest.mark.parametrize(
    ("condition", "label"),
    [
        (F.initial_data["quality"] == "low", "quality == 'low'"),
        (F.state_history.a.b[0] >= 3, "a.b.0 >= 3"),
        (F.client.plan.in_(["gold", "free"]), "client.plan in ['gold', 'free']"),
        (F.initial_data.tag.in_({"b", "a"}), "tag in {'a', 'b'}"),
        (F.initial_data.name.matches("^a+$"), "name matches '^a+$'"),
        (F.initial_data.a < F.initial_data.b, "a < b"),
        (~(F.initial_data.a == 1), "not (a == 1)"),
        (F.initial_data.tags.any_(F.item == "red"), "any of tags (item == 'red')"),
        (F.state_history.a.b.all_((F.item.x > 1) & (F.item.y > 2)), "all of a.b (item.x > 1 and item.y > 2)"),
        (
            ((F.initial_data.a == 1) | (F.initial_data.b == 2)) & (F.initial_data.c == 3) & (F.initial_data.d == 4),
            "(a == 1 or b == 2) and c == 3 and d == 4",
        ),
    ],
)
def test_reads_as_a_short_label(condition: Condition, label: str) -> None:
    assert str(condition) == label


def _compared(field: str, word: str, value: Any, data: dict[str, Any]) -> bool:
    """Return the expected result of a comparison, by Python itself."""
    try:
        return bool(_PYTHON[word](data[field], value))
    except (KeyError, TypeError):
        return False


_PYTHON: dict[str, Any] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_FIELDS = st.sampled_from(["a", "b", "c"])
_VALUES = st.none() | st.booleans() | st.integers(-2, 2) | st.floats(-1, 1) | st.text("xy", max_size=2)
_JSON = st.recursive(_VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_FIELDS, inner, max_size=2))
#: A condition, and what answers the same for a dict of data.
_PAIRS: st.SearchStrategy[tuple[Condition, Any]] = st.recursive(
    st.builds(
        lambda field, word, value: (
            _PYTHON[word](F.initial_data[field], value),
            lambda data: _compared(field, word, value, data),
        ),
        _FIELDS,
        st.sampled_from(sorted(_PYTHON)),
        _VALUES,
    ),
    lambda inner: st.one_of(
        st.builds(lambda a, b: (a[0] & b[0], lambda data: a[1](data) and b[1](data)), inner, inner),
        st.builds(lambda a, b: (a[0] | b[0], lambda data: a[1](data) or b[1](data)), inner, inner),
        st.builds(lambda a: (~a[0], lambda data: not a[1](data)), inner),
    ),
    max_leaves=8,
)


@given(_PAIRS, st.dictionaries(_FIELDS, _JSON))
def test_any_condition_answers_as_python_does_where_python_has_an_answer(
    pair: tuple[Condition, Any], data: dict[str, Any]
) -> None:
    condition, told = pair

    assert condition.holds(JobContext(JOB.evolve(initial_data=data))) == told(data)


@given(_FIELDS, _VALUES, st.dictionaries(_FIELDS, _JSON))
def test_any_and_all_are_each_others_opposite_over_lists_and_both_false_elsewhere(
    field: str, value: Any, data: dict[str, Any]
) -> None:
    context = JobContext(JOB.evolve(initial_data=data))
    some = F.initial_data[field].any_(F.item == value).holds(context)
    every_other = F.initial_data[field].all_(~(F.item == value)).holds(context)

    assert (some, every_other) == (
        (value in data[field], value not in data[field]) if isinstance(data.get(field), list) else (False, False)
    )


def test_two_conditions_that_read_alike_but_look_elsewhere_share_a_state() -> None:
    bp = Blueprint("alike")

    @bp.handler("first", F.initial_data["a"] == 1, is_start=True, is_end=True)
    def of_the_client() -> str:
        return "client"

    @bp.handler("first", F.state_history["a"] == 1, is_end=True)
    def of_a_result() -> str:
        return "result"

    assert bp.plan.states["first"].guards == ("a == 1", "a == 1")


class TestRefusals:
    def test_an_item_outside_of_a_list_is_refused_where_it_is_written(self) -> None:
        with pytest.raises(BlueprintError, match=r"use it inside F....any_\(...\) or F....all_\(...\)"):
            Blueprint("item").handler("a", (F.initial_data.a == 1) & ~(F.item == 1))(lambda: None)

    def test_a_list_is_asked_with_a_condition(self) -> None:
        with pytest.raises(TypeError, match=r"'red' is not a condition"):
            F.initial_data.tags.any_("red")  # type: ignore[arg-type]  # what one writes at first

    def test_and_or_not_and_chains_say_what_to_write(self) -> None:
        with pytest.raises(TypeError, match=r"write & \| ~ instead of and, or, not"):
            bool((F.initial_data.a == 1) and (F.initial_data.b == 2))
        with pytest.raises(TypeError, match="split a < b < c into two"):
            bool(1 < F.initial_data.a < 3)

    def test_missing_parentheses_are_noticed(self) -> None:
        with pytest.raises(TypeError, match="put each comparison in parentheses"):
            (F.initial_data.a == 1) & True  # type: ignore[operator]  # what precedence makes of it

    def test_in_says_what_to_write(self) -> None:
        with pytest.raises(TypeError, match=re.escape("write F.initial_data['tags'].in_([...])")):
            "red" in F.initial_data.tags  # noqa: B015 - the comparison is the test

    @pytest.mark.parametrize("use", [bool, list, iter])
    def test_a_field_has_no_value_yet(self, use: Any) -> None:
        with pytest.raises(TypeError, match="before a job runs"):
            use(F.initial_data.tags)

    @pytest.mark.parametrize("choices", ["red", 7])
    def test_in_takes_several_choices(self, choices: Any) -> None:
        with pytest.raises(TypeError, match=r"tags.in_\(...\) takes a list, a tuple or a set"):
            F.initial_data.tags.in_(choices)

    def test_a_pattern_is_compiled_at_once(self) -> None:
        with pytest.raises(re.error):
            F.initial_data.name.matches("(")

    def test_f_knows_its_roots(self) -> None:
        with pytest.raises(
            AttributeError, match="F has no 'intial_data'; it has initial_data, job_data, state_history"
        ):
            F.intial_data  # noqa: B018 - the attribute is the test
