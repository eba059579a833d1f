"""Sweeps run on their own schedules, and an error of one does not stop the others."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import pytest

from avtomatika import Blueprint, __version__
from avtomatika.errors import UnavailableError
from avtomatika.orchestrator.sweeps import Sweep, Sweeps
from avtomatika.transport import connect

from ..support.orchestrators import Stage

bp = Blueprint(name="video")


@bp.handler(is_start=True, is_end=True)
def start() -> None: ...


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


def test_one_of_several_orchestrators_samples_each_minute(stage: Callable[..., Stage]) -> None:
    there = stage(bp)
    first, second = there.orchestrator(), there.orchestrator()
    sampled = lambda: there.store.overview.read().hour["series"]["waiting"][-1]  # noqa: E731

    there.turn_until(lambda: sampled() is not None)

    with connect(there.url) as client:
        claims = client.keys("{avt.g0}:claim:statistics:*")
        assert len(claims) in (1, 2)  # a minute may have ended meanwhile
        assert all(0 < client.ttl(claim) <= 60 for claim in claims)
        assert client.zrange("{avt.g0}:versions", 0, -1) == [__version__.encode()]
    assert first is not second


def test_an_unavailable_server_raises() -> None:
    def away() -> bool:
        raise UnavailableError("the server is away")

    with pytest.raises(UnavailableError):
        Sweeps([Sweep("timers", away, every_seconds=1)]).run_due()
