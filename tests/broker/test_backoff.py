"""Back-off after failures."""

from __future__ import annotations

import logging

import pytest

from avtomatika.broker.backoff import Backoff, pause_seconds
from avtomatika.errors import UnavailableError


@pytest.mark.parametrize(("failures", "longest"), [(1, 0.5), (2, 1), (6, 16), (7, 30), (100_000, 30)])
def test_a_pause_grows_up_to_half_a_minute(failures: int, longest: float) -> None:
    pauses = [pause_seconds(failures) for _ in range(200)]

    assert min(pauses) >= 0
    assert 0.5 * longest < max(pauses) <= longest


def test_each_failure_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    backoff = Backoff(logging.getLogger("loop"), "jobs wait")

    pauses = [backoff.failed(UnavailableError("the server is away")) for _ in range(5)]
    backoff.failed(ValueError("odd"))
    backoff.succeeded()
    backoff.succeeded()

    assert [record.getMessage() for record in caplog.records] == [
        "the server is away; jobs wait",
        "ValueError('odd'); jobs wait",
        "working again after 6 failures",
    ]
    assert caplog.records[0].exc_info is None
    assert caplog.records[1].exc_info is not None
    assert all(0 <= pause <= 8 for pause in pauses)
    assert not backoff


def test_a_loop_continues_after_errors_until_it_is_stopped() -> None:
    outcomes: list[Exception | None] = [UnavailableError("the server is away"), ValueError("odd"), None]
    pauses: list[float] = []

    def step() -> None:
        if error := outcomes.pop(0):
            raise error

    backoff = Backoff(logging.getLogger("loop"), "jobs wait")
    backoff.run(step, until=lambda: not outcomes, wait=pauses.append)

    assert len(pauses) == 2
    assert not backoff
