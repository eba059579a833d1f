"""The pool's queue of tasks, and the callbacks for their results."""

from collections import deque
from collections.abc import Iterable, Sequence
from time import monotonic

from avtomatika.errors import TransientError
from avtomatika.worker.batch import Call
from avtomatika.worker.executors import OnFinish


class TaskQueue:
    """Protected by the pool's lock, except :meth:`run_callbacks`."""

    def __init__(self) -> None:
        self._queue: deque[Call] = deque()
        self._on_finish: dict[Call, OnFinish] = {}
        self._finished: deque[tuple[OnFinish, Call]] = deque()

    def __contains__(self, execution: Call) -> bool:
        """Return whether its result is still wanted."""
        return execution in self._on_finish

    def add(self, executions: Iterable[Call], on_finish: OnFinish) -> None:
        for execution in executions:
            self._on_finish[execution] = on_finish
            self._queue.append(execution)

    def put_back(self, executions: Sequence[Call]) -> None:
        """Put executions back at the front."""
        self._queue.extendleft(reversed(executions))

    def next(self) -> Call | None:
        """Remove and return the next execution; those with a stop request finish without running."""
        while self._queue:
            execution = self._queue.popleft()
            if execution.stop_reason is None and execution in self._on_finish:
                return execution
            if execution.stop_reason is not None:
                for each in execution.executions:
                    each.started_at = monotonic()
                execution.fail(TransientError("it had not started"))
                self.finish(execution)
        return None

    def withdraw(self, on_finish: OnFinish) -> list[Call]:
        """Remove and return all executions that were added with *on_finish*."""
        withdrawn = [each for each in self._queue if self._on_finish.get(each) == on_finish]
        self._queue = deque(each for each in self._queue if self._on_finish.get(each) != on_finish)
        for execution in withdrawn:
            del self._on_finish[execution]
        return withdrawn

    def forget(self, execution: Call) -> bool:
        """Drop the callback of an execution; return whether there was one."""
        return self._on_finish.pop(execution, None) is not None

    def finish(self, execution: Call) -> None:
        """Schedule the callback of a finished execution."""
        on_finish = self._on_finish.pop(execution, None)
        if on_finish is not None:
            self._finished.append((on_finish, execution))

    def run_callbacks(self) -> None:
        """Call back without the pool's lock, because callbacks may start more tasks."""
        while self._finished:
            try:
                on_finish, execution = self._finished.popleft()
            except IndexError:  # another thread was faster
                return
            on_finish(execution)
