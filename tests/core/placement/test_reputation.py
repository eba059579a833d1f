"""Reputation: what counts, how much, and how it fades."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from avtomatika.core.events import Event, Result
from avtomatika.core.placement import reputation

COUNTS = st.integers(0, 500)


def result(status: str, code: str | None = None, worker_id: str | None = "w-1") -> Result:
    error: Any = None if code is None else {"code": code, "message": "no"}
    return Result("g0-1", "g0-1.0.0", 1, status, error=error, worker_id=worker_id)


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (result("success"), ("w-1", True)),
        (result("needs_review"), ("w-1", True)),
        (result("failure", "TRANSIENT_ERROR"), ("w-1", False)),
        (result("failure"), ("w-1", False)),
        (result("failure", "INVALID_INPUT_ERROR"), None),
        (result("cancelled", "CANCELLED"), None),
        (result("failure", worker_id=None), None),
    ],
)
def test_what_a_worker_can_help_counts(event: Event, told: tuple[str, bool] | None) -> None:
    assert reputation.rating_of(event) == told


def changed(before: float, good: int, bad: int) -> float:
    times, plus = reputation.decay_factors(good, bad)
    return before * times + plus


@given(st.floats(0, 1), COUNTS, COUNTS)
def test_it_stays_between_0_and_1(before: float, good: int, bad: int) -> None:
    assert -1e-9 <= changed(before, good, bad) <= 1 + 1e-9


@given(st.floats(0, 1), COUNTS, COUNTS)
def test_many_at_once_are_the_same_as_one_after_another(before: float, good: int, bad: int) -> None:
    one_by_one = before
    for _ in range(good):
        one_by_one = changed(one_by_one, 1, 0)
    for _ in range(bad):
        one_by_one = changed(one_by_one, 0, 1)

    assert changed(before, good, bad) == pytest.approx(one_by_one)


@given(st.floats(0, 1), st.floats(0, 1e6), st.floats(0, 1e6))
def test_time_brings_it_back_and_nothing_ever_makes_it_worse(before: float, age: float, more: float) -> None:
    assert before - 1e-9 <= reputation.decayed(before, age) <= reputation.decayed(before, age + more) + 1e-9
    assert reputation.decayed(before, 1e7) == pytest.approx(1)
