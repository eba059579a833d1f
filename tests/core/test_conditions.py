"""``F``: what holds, what does not, and what is refused while it is written."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from avtomatika import F
from avtomatika.core.conditions import Condition
from avtomatika.core.context import Client, JobContext
from avtomatika.core.job import Job

JOB = Job(
    id="g0-1",
    blueprint="shop",
    plan8="00000000",
    current_state="pack",
    client="acme",
    initial_data={"size": 5, "name": "box-17", "tags": ["red", "small"], "to": {"city": "Bonn"}, "get": "it"},
    state_history={"weight": 2.5, "limit": 5},
)
CONTEXT = JobContext(JOB, client=Client("acme", plan="gold", params={"quota": 3}))


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
        (
            ((F.initial_data.a == 1) | (F.initial_data.b == 2)) & (F.initial_data.c == 3) & (F.initial_data.d == 4),
            "(a == 1 or b == 2) and c == 3 and d == 4",
        ),
    ],
)
def test_reads_as_a_short_label(condition: Condition, label: str) -> None:
    assert str(condition) == label


class TestRefusals:
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
        with pytest.raises(AttributeError, match="F has no 'intial_data'; there are initial_data, state_history"):
            F.intial_data  # noqa: B018 - the attribute is the test
