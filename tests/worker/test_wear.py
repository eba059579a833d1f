from __future__ import annotations

from avtomatika.worker.recycling import WorkerRecycler, memory_bytes


def test_it_is_worn_after_so_many_tasks_and_says_so_once() -> None:
    said: list[bool] = []
    wear = WorkerRecycler(lambda: said.append(True), tasks=3, memory_bytes=None)

    states = []
    for _ in range(5):
        wear.ended()
        states.append(wear.is_worn)

    assert states == [False, False, True, True, True]
    assert said == [True]


def test_it_is_worn_when_it_holds_too_much() -> None:
    said: list[bool] = []
    held = memory_bytes()

    modest = WorkerRecycler(lambda: said.append(False), tasks=None, memory_bytes=held * 10)
    greedy = WorkerRecycler(lambda: said.append(True), tasks=None, memory_bytes=held // 10)
    for wear in (modest, greedy):
        wear.ended()

    assert (modest.is_worn, greedy.is_worn, said) == (False, True, [True])
