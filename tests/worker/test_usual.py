from __future__ import annotations

from avtomatika.worker.durations import DurationEstimates


def usual_of(*seconds: float) -> DurationEstimates:
    usual = DurationEstimates()
    for each in seconds:
        usual.took("work", each)
    return usual


def test_what_is_left_is_the_middle_of_those_that_took_longer() -> None:
    usual = usual_of(1, 10, 20, 30, 40)

    assert usual.left("work", 0) == 20
    assert usual.left("work", 15) == 15
    assert usual.left("work", 35) == 5


def test_nobody_can_tell_of_few_or_of_one_that_took_longer_than_any() -> None:
    assert usual_of(10, 10, 10, 10).left("work", 0) is None
    assert usual_of(10, 10, 10, 10, 10).left("work", 11) is None
    assert usual_of(10, 10, 10, 10, 10).left("other", 0) is None


def test_only_the_last_ones_count() -> None:
    assert usual_of(*[1_000] * 50, *[2] * 50).left("work", 0) == 2
