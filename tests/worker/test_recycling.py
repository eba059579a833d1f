from __future__ import annotations

from avtomatika.worker.recycling import RecycleLimits, WorkerRecycler, memory_bytes


def test_it_recycles_once_after_the_maximum_number_of_tasks() -> None:
    said: list[bool] = []
    recycler = WorkerRecycler(lambda: said.append(True), RecycleLimits(tasks=3))

    states = []
    for _ in range(5):
        recycler.task_done()
        states.append(recycler.is_due)

    assert states == [False, False, True, True, True]
    assert said == [True]


def test_it_recycles_above_the_memory_limit() -> None:
    said: list[bool] = []
    held = memory_bytes()

    modest = WorkerRecycler(lambda: said.append(False), RecycleLimits(memory_bytes=held * 10))
    greedy = WorkerRecycler(lambda: said.append(True), RecycleLimits(memory_bytes=held // 10))
    for recycler in (modest, greedy):
        recycler.task_done()

    assert (modest.is_due, greedy.is_due, said) == (False, True, [True])
