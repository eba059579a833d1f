"""How long to wait for somebody who is away."""

from __future__ import annotations

import pytest

from avtomatika.broker.backoff import pause_seconds


@pytest.mark.parametrize(("failures", "longest"), [(1, 0.5), (2, 1), (6, 16), (7, 30), (100_000, 30)])
def test_a_pause_grows_and_stays_within_half_a_minute_for_ever(failures: int, longest: float) -> None:
    pauses = [pause_seconds(failures) for _ in range(200)]

    assert min(pauses) >= 0
    assert 0.5 * longest < max(pauses) <= longest
