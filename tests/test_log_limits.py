"""The same line is logged once a minute, and the number of different lines is bounded."""

from __future__ import annotations

from avtomatika.log_limits import INTERVAL_SECONDS, LogLimit


def test_a_line_is_allowed_again_after_a_minute() -> None:
    times = [0.0, 1.0, INTERVAL_SECONDS - 1, INTERVAL_SECONDS, INTERVAL_SECONDS + 1]
    clock = iter(times)
    limit = LogLimit(clock=lambda: next(clock))

    allowed = [limit.allows("worker one is refused") for _ in times]

    assert allowed == [True, False, False, True, False]


def test_different_lines_are_bounded() -> None:
    limit = LogLimit(clock=lambda: 0.0)

    assert sum(limit.allows(str(number)) for number in range(5000)) == 1000
