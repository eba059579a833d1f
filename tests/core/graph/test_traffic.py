"""Figures over many jobs, laid over their graph."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from avtomatika.core.graph.dot import digraph
from avtomatika.core.graph.traffic import Depth, EdgeFigures, LiveTraffic, RunningJob, Traffic
from avtomatika.core.job import HistoryEntry, RecordedEntry

from ..conftest import ORDER
from .test_dot import texts

PLAN = ORDER.plan


def history(*entries: tuple[int, HistoryEntry]) -> list[RecordedEntry]:
    return [RecordedEntry(seq, seq, at, entry) for seq, (at, entry) in enumerate(entries, 1)]


def checked(seconds: int, outcome: str = "success", *, failures: int = 0) -> list[RecordedEntry]:
    """A job whose stock was checked for *seconds*; it finished a second after it entered ``pay``, or failed."""
    to = "pay" if outcome == "success" else "failed"
    failed = HistoryEntry("task_failed", "check", data={"outcome": "failure", "error": {}})
    left = HistoryEntry("task_succeeded", "check", data={"outcome": outcome, "go_to": to})
    return history(
        (0, HistoryEntry("state_entered", "check")),
        *((1, failed) for _ in range(failures)),
        (1000 * seconds, left),
        (1000 * seconds, HistoryEntry("state_entered", to)),
        (1000 * seconds + 1000, HistoryEntry("job_finished" if to == "pay" else "job_failed", to)),
    )


def test_edges_tell_how_often_and_how_long_and_what_failed() -> None:
    jobs = [checked(seconds, failures=seconds == 10) for seconds in range(1, 16)]
    jobs += [checked(2, "failure") for _ in range(5)]

    traffic = Traffic.of(PLAN, jobs)

    assert traffic.sampled == 20
    assert traffic.edges == {
        ("check", "pay", "success"): EdgeFigures(15, 0.75, p50_ms=8000, p95_ms=15_000, failure_share=1 / 16),
        ("check", "failed", "failure"): EdgeFigures(5, 0.25, p50_ms=2000, p95_ms=2000, failure_share=0.0),
    }


@pytest.mark.parametrize(
    ("state", "waited_seconds", "left_seconds"),
    [("check", 0, 6), ("check", 8, 2), ("check", 12, None), ("pay", 0, 1), ("reorder", 0, None)],
)
def test_a_job_will_take_as_long_as_those_that_had_been_there_as_long(
    state: str, waited_seconds: int, left_seconds: int | None
) -> None:
    traffic = Traffic.of(PLAN, [checked(seconds) for seconds in range(1, 11)] + [checked(90, "failure")])

    left_ms = traffic.left_for(state, 1000 * waited_seconds)

    assert left_ms == (None if left_seconds is None else 1000 * left_seconds)


def test_a_running_job_is_expected_to_end() -> None:
    traffic = Traffic.of(PLAN, [checked(seconds) for seconds in range(1, 11)])
    live = LiveTraffic(traffic, (), 0, now_ms=50_000)

    assert live.expected_end_ms(RunningJob("g0-1", "waiting_for_worker", "check", 50_000)) == 56_000
    assert live.expected_end_ms(RunningJob("g0-1", "waiting_for_worker", "check", 42_000)) == 52_000
    assert live.expected_end_ms(RunningJob("g0-1", "quarantined", "check", 50_000)) is None


def drawn(jobs: Iterable[list[RecordedEntry]]) -> tuple[list[str], list[str]]:
    traffic = Traffic.of(
        PLAN, jobs, jobs={"check": 12, "pay": 1}, depths={"check_stock": Depth(8, 4), PLAN.main_queue: Depth(3)}
    )
    picture = digraph(PLAN, overlay=traffic)
    return texts(str(picture.source)), list(picture.body)


def test_the_picture_shows_them() -> None:
    shown, _ = drawn([checked(2, failures=1), checked(4), checked(6), checked(8, "failure")])

    assert "13 jobs, figures of the last 4 that are over" in shown
    assert {"12 jobs", "1 job", "check_stock: 8 waiting, 4 in flight"} <= set(shown)
    assert {"75% of 4", "p50 4.0 s, p95 6.0 s", "25% of attempts fail"} <= set(shown)


def test_edges_are_as_wide_as_they_are_used() -> None:
    _, lines = drawn([checked(2), checked(4), checked(6), checked(8, "failure")])

    assert sum("penwidth=3.0" in line for line in lines) == 1
    assert sum("penwidth=1.0" in line for line in lines) == 1


def test_without_any_job_the_graph_is_as_it_always_is() -> None:
    empty = digraph(PLAN, overlay=Traffic.of(PLAN, []))

    assert empty.body == digraph(PLAN).body
