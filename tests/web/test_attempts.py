"""How long somebody has to wait who tried too often."""

from __future__ import annotations

from avtomatika.web.attempts import FAILURES, WINDOW_SECONDS, Attempts


def test_an_address_waits_until_the_first_of_its_failures_is_old_enough() -> None:
    now = 0.0
    attempts = Attempts(clock=lambda: now)
    for _ in range(FAILURES):
        assert attempts.wait_seconds("a") == 0
        attempts.failed("a")
        now += 1

    waits = attempts.wait_seconds("a")
    now = WINDOW_SECONDS

    assert waits == WINDOW_SECONDS - FAILURES
    assert attempts.wait_seconds("a") == 0


def test_another_address_does_not_wait() -> None:
    attempts = Attempts()
    for _ in range(FAILURES):
        attempts.failed("a")

    assert attempts.wait_seconds("a") > 0
    assert attempts.wait_seconds("b") == 0


def test_what_is_remembered_is_bounded() -> None:
    attempts = Attempts()
    for number in range(10_100):
        attempts.failed(str(number))

    assert len(attempts._failures) == 10_000
