"""Sweeps run on their own schedules, and an error of one does not stop the others."""

from __future__ import annotations

from time import monotonic

import pytest

from avtomatika.errors import UnavailableError
from avtomatika.orchestrator.sweeps import Sweep, Sweeps


def test_a_sweep_that_fails_waits_for_its_next_time_and_the_others_run(caplog: pytest.LogCaptureFixture) -> None:
    done = list[str]()

    def fail() -> bool:
        done.append("bad")
        raise ValueError("an odd record")

    def work() -> bool:
        done.append("good")
        return False

    bad, good = Sweep("records", fail, every_seconds=60), Sweep("timers", work, every_seconds=0)
    sweeps = Sweeps([bad, good])
    sweeps.run_due()
    sweeps.run_due()

    assert done == ["bad", "good", "good"]
    assert bad.due >= monotonic() + 50
    [record] = caplog.records
    assert record.getMessage() == "ValueError('an odd record'); retrying the sweep of records later"


def test_one_that_has_more_to_do_is_due_at_once() -> None:
    left = [True, True, False]
    sweep = Sweep("jobs", lambda: left.pop(0), every_seconds=60)

    dues = []
    for _ in range(3):
        sweep.run(100.0)
        dues.append(sweep.due)

    assert dues == [100.0, 100.0, 160.0]


def test_an_unavailable_server_raises() -> None:
    def away() -> bool:
        raise UnavailableError("the server is away")

    with pytest.raises(UnavailableError):
        Sweeps([Sweep("timers", away, every_seconds=1)]).run_due()
