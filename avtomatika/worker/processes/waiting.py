"""The queue of a pool: assignments that wait for a child, and whom to call when one has its result."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from time import monotonic

from avtomatika.errors import TransientError
from avtomatika.worker.execution import TaskExecution
from avtomatika.worker.executors import OnEnd


class Waiting:
    """Under the lock of its pool, but for :meth:`call_back`."""

    def __init__(self) -> None:
        self._queue: deque[TaskExecution] = deque()
        self._on_end: dict[TaskExecution, OnEnd] = {}
        self._ended: deque[tuple[OnEnd, TaskExecution]] = deque()

    def __contains__(self, assignment: TaskExecution) -> bool:
        """Whether somebody wants its result."""
        return assignment in self._on_end

    def add(self, assignments: Iterable[TaskExecution], on_end: OnEnd) -> None:
        for assignment in assignments:
            self._on_end[assignment] = on_end
            self._queue.append(assignment)

    def put_back(self, assignments: Sequence[TaskExecution]) -> None:
        """Before all others."""
        self._queue.extendleft(reversed(assignments))

    def next(self) -> TaskExecution | None:
        """Take the next out; those that are to stop have ended with that."""
        while self._queue:
            assignment = self._queue.popleft()
            if assignment.stop is None and assignment in self._on_end:
                return assignment
            if assignment.stop is not None:
                assignment.begun_at = monotonic()
                assignment.fail(TransientError("it had not begun"))
                self.end(assignment)
        return None

    def withdraw(self, on_end: OnEnd) -> list[TaskExecution]:
        """Take out all that were added with *on_end*."""
        withdrawn = [each for each in self._queue if self._on_end.get(each) == on_end]
        self._queue = deque(each for each in self._queue if self._on_end.get(each) != on_end)
        for assignment in withdrawn:
            del self._on_end[assignment]
        return withdrawn

    def forget(self, assignment: TaskExecution) -> bool:
        """Nobody wants its result any more; whether somebody did."""
        return self._on_end.pop(assignment, None) is not None

    def end(self, assignment: TaskExecution) -> None:
        """It has its result."""
        on_end = self._on_end.pop(assignment, None)
        if on_end is not None:
            self._ended.append((on_end, assignment))

    def call_back(self) -> None:
        """Tell who wants to know. Without the lock: they may come back with more."""
        while self._ended:
            try:
                on_end, assignment = self._ended.popleft()
            except IndexError:  # another thread was quicker
                return
            on_end(assignment)
