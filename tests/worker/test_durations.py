from __future__ import annotations

from avtomatika.worker.durations import Durations


def usual_of(*seconds: float) -> Durations:
    usual = Durations()
    for each in seconds:
        usual.record("work", each)
    return usual


def test_the_estimate_is_the_median_of_longer_tasks() -> None:
    usual = usual_of(1, 10, 20, 30, 40)

    assert usual.remaining("work", 0) == 20
    assert usual.remaining("work", 15) == 15
    assert usual.remaining("work", 35) == 5


def test_there_is_no_estimate_with_few_tasks_or_past_the_longest() -> None:
    assert usual_of(10, 10, 10, 10).remaining("work", 0) is None
    assert usual_of(10, 10, 10, 10, 10).remaining("work", 11) is None
    assert usual_of(10, 10, 10, 10, 10).remaining("other", 0) is None


def test_only_the_last_ones_count() -> None:
    assert usual_of(*[1_000] * 50, *[2] * 50).remaining("work", 0) == 2
