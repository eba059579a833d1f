"""Back-off: doubling, capped, spread, and always the same for the same name."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

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


def test_spreads_what_failed_together() -> None:
    policy = RetryPolicy()

    delays = {policy.delay_after(1, name=f"g0-1.{step}.0") for step in range(100)}

    assert len(delays) > 90
    assert timedelta(seconds=0.5) <= min(delay for delay in delays if delay) < timedelta(seconds=0.6)
