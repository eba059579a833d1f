"""Back-off: doubling, capped, spread, and always the same for the same name."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given, strategies as st

from avtomatika.core.retry import RetryPolicy


def test_doubles_and_stops_at_the_cap() -> None:
    policy = RetryPolicy(max_retries=12, jitter=0)

    delays = [policy.delay_after(attempt) for attempt in range(1, 13)]

    seconds = [delay.total_seconds() for delay in delays if delay is not None]
    assert seconds == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


def test_three_retries_are_four_attempts() -> None:
    policy = RetryPolicy(max_retries=3)

    assert [policy.delay_after(attempt) is not None for attempt in (1, 2, 3, 4)] == [True, True, True, False]


def test_no_retries_give_up_at_once() -> None:
    assert RetryPolicy(max_retries=0).delay_after(1) is None


@given(st.integers(1, 10_000), st.text())
def test_takes_at_most_its_share_off_and_is_the_same_every_time(attempt: int, name: str) -> None:
    policy = RetryPolicy(max_retries=10_000)
    full = RetryPolicy(max_retries=10_000, jitter=0).delay_after(attempt, name=name)

    delay = policy.delay_after(attempt, name=name)

    assert delay is not None
    assert full is not None
    assert full / 2 <= delay <= full
    assert delay == policy.delay_after(attempt, name=name)


def test_a_code_of_its_own_has_a_policy_of_its_own_and_others_are_for_good() -> None:
    busy = RetryPolicy(max_retries=20, delay=60)
    policy = RetryPolicy(by_code={"BUSY": busy, "TRANSIENT_ERROR": RetryPolicy(max_retries=0)})

    assert policy.for_code("BUSY") is busy
    assert policy.for_code("TRANSIENT_ERROR") == RetryPolicy(max_retries=0)
    assert policy.for_code("PERMANENT_ERROR") is None
    assert RetryPolicy().for_code("TRANSIENT_ERROR") == RetryPolicy()


def test_is_the_same_after_it_was_stored() -> None:
    policy = RetryPolicy(5, 2, 60, 0.1, by_code={"BUSY": RetryPolicy(max_retries=20)})

    assert RetryPolicy.of(orjson.loads(orjson.dumps(policy))) == policy


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"max_retries": -1}, "max_retries must be a whole number of at least 0, not -1"),
        ({"max_retries": "3"}, "max_retries must be a whole number of at least 0, not '3'"),
        ({"delay": 0}, "delay must be a number of seconds above 0 and at most 3153600000, not 0"),
        (
            {"max_delay": float("inf")},
            "max_delay must be a number of seconds above 0 and at most 3153600000, not inf",
        ),
        ({"delay": 3600}, "max_delay=300 must be at least delay=3600"),
        ({"jitter": 2}, "jitter must be a number from 0 to 1, not 2"),
        ({"by_code": {"BUSY": 3}}, "by_code must map codes to policies without by_code, not 'BUSY': 3"),
    ],
)
def test_what_is_no_policy_is_refused_where_it_is_written(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RetryPolicy(**fields)


def test_spreads_what_failed_together() -> None:
    policy = RetryPolicy()

    delays = {policy.delay_after(1, name=f"g0-1.{step}.0") for step in range(100)}

    assert len(delays) > 90
    assert timedelta(seconds=0.5) <= min(delay for delay in delays if delay) < timedelta(seconds=0.6)
