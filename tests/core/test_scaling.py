"""The number of slots, against a simulated queue."""

from __future__ import annotations

import heapq
import random

import pytest

from avtomatika.core.scaling import slots_wanted


def late(slots: int, *, rate: float, seconds: float, target_seconds: float, tasks: int = 60_000) -> float:
    """Return the share of the tasks of a simulation that wait for longer than the target."""
    dice = random.Random(7)
    now, count, free = 0.0, 0, [0.0] * slots
    for _ in range(tasks):
        now += dice.expovariate(rate)
        start = max(now, heapq.heappop(free))
        count += start - now > target_seconds
        heapq.heappush(free, start + dice.expovariate(1 / seconds))
    return count / tasks


@pytest.mark.parametrize(
    ("rate", "seconds", "target_seconds"), [(2, 3, 5), (0.1, 20, 10), (20, 0.5, 1), (5, 10, 0.5), (0.01, 1, 10)]
)
def test_with_the_wanted_slots_95_percent_wait_for_at_most_the_target_and_with_one_less_they_do_not(
    rate: float, seconds: float, target_seconds: float
) -> None:
    slots = slots_wanted(rate, seconds, waiting=0, running=0, target_seconds=target_seconds)

    assert late(slots, rate=rate, seconds=seconds, target_seconds=target_seconds) <= 0.055
    if slots - 1 > rate * seconds:
        assert late(slots - 1, rate=rate, seconds=seconds, target_seconds=target_seconds) > 0.045


def test_waiting_tasks_need_slots_that_start_them_in_time() -> None:
    assert slots_wanted(2, 3, waiting=100, running=6, target_seconds=5) == 57
    assert slots_wanted(0, 3, waiting=100, running=0, target_seconds=5) == 57
    assert slots_wanted(2, 3, waiting=10, running=6, target_seconds=5) == 8


def test_a_skill_whose_durations_are_unknown_gets_a_slot_for_its_first_task() -> None:
    assert [slots_wanted(0, 0, waiting=n, running=0, target_seconds=5) for n in (0, 1, 50)] == [0, 1, 1]
    assert slots_wanted(0, 0, waiting=0, running=3, target_seconds=5) == 1


def test_no_task_needs_no_slot() -> None:
    assert slots_wanted(0, 3, waiting=0, running=0, target_seconds=5) == 0
