"""A child process from the pool's side: its tasks, and when to replace it."""

import socket
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from time import monotonic
from typing import Self

from avtomatika.worker.batch import Call
from avtomatika.worker.execution import TaskExecution

from .messages import ChildTask, Messages, StopRequest, send
from .sockets import MAX_NUMBER, claim, offer
from .zygote import Zygote

#: Maximum number of tasks that a child holds at a time ...
_MAX_TASKS = 4
#: ... and for how long; unstarted tasks then go to other children.
RECLAIM_AFTER_SECONDS = 0.005


@dataclass(slots=True, eq=False)
class ChildProcess:
    """``pending`` holds the tasks without a result, of which the first is running; ``done`` counts finished ones.

    The pool holds both ends of the claims socket, so that it can reclaim unstarted tasks. A child that ``is_retiring``
    gets no more tasks.
    """

    pid: int
    connection: socket.socket
    offers: socket.socket
    claims: socket.socket
    pending: deque[tuple[int, Call]] = field(default_factory=deque)
    done: int = 0
    started_at: float = 0.0
    is_retiring: bool = False
    _number: int = 0
    messages: Messages = field(init=False)

    def __post_init__(self) -> None:
        self.messages = Messages(self.connection)

    @classmethod
    def fork(cls, zygote: Zygote, *, is_retiring: bool = False) -> Self:
        """Fork a new child. Raises ZygoteGoneError, OSError."""
        with ExitStack() as stack:
            ours, theirs = map(stack.enter_context, socket.socketpair())
            offers, claims = map(stack.enter_context, socket.socketpair())
            child = cls(zygote.fork((theirs, claims)), ours, offers, claims, is_retiring=is_retiring)
            stack.pop_all()
        theirs.close()
        return child

    def is_stuck(self, now: float) -> bool:
        """Return whether the running task has delayed the ones behind it for too long."""
        return len(self.pending) > 1 and now - self.started_at > RECLAIM_AFTER_SECONDS

    def assign(self, executions: Sequence[Call], payload_dir: str) -> None:
        """Send tasks to the child. Raises OSError if it has exited; then it has none of them."""
        child_tasks = [self._new_task(execution, payload_dir) for execution in executions]
        stops = [
            StopRequest(child_task.number, each.stop_reason, index)
            for child_task, call in zip(child_tasks, executions, strict=True)
            for index, each in enumerate(call.executions)
            if each.stop_reason is not None  # one of a batch, stopped while it waited for the others
        ]
        send(self.connection, [*child_tasks, *stops])
        offer(self.offers, [child_task.number for child_task in child_tasks])
        is_idle = not self.pending
        self.pending.extend(zip((child_task.number for child_task in child_tasks), executions, strict=True))
        if is_idle:
            self._start_first()

    def reclaim(self) -> list[Call]:
        """Take back unstarted tasks, in their order."""
        numbers = set()
        while (number := claim(self.claims, wait=False)) is not None:
            numbers.add(number)
        back = [execution for number, execution in self.pending if number in numbers]
        self.pending = deque(pair for pair in self.pending if pair[0] not in numbers)
        for execution in (each for call in back for each in call.executions):
            execution.started_at = None
        return back

    def finish_first(self) -> Call | None:
        """Remove and return the first task, which has its result."""
        if not self.pending:
            return None
        _, execution = self.pending.popleft()
        self.done += len(execution.executions)
        if self.pending:
            self._start_first()
        return execution

    def stop(self, execution: TaskExecution) -> None:
        """Send a stop request for a task."""
        for number, pending in self.pending:
            if execution in pending.executions and execution.stop_reason is not None:
                index = pending.executions.index(execution)
                send(self.connection, [StopRequest(number, execution.stop_reason, index)])

    def close(self) -> None:
        """Close the connections, which ends the child."""
        for end in (self.connection, self.offers, self.claims):
            end.close()

    def _start_first(self) -> None:
        self.started_at = monotonic()
        for execution in self.pending[0][1].executions:
            execution.started_at = self.started_at

    def _new_task(self, execution: Call, payload_dir: str) -> ChildTask:
        self._number = self._number % MAX_NUMBER + 1
        tasks = [each.task for each in execution.executions]
        return ChildTask(self._number, tasks, payload_dir, execution.limit_seconds)


def choose_child(loads: Mapping[ChildProcess, int], *, parallel: int | None = None) -> ChildProcess | None:
    """Return an idle child, if any; *loads* maps children to their numbers of tasks. For short tasks, once *parallel*
    children are busy, return one that will soon finish its tasks."""
    idle = next((child for child, load in loads.items() if not load), None)
    if parallel is None or sum(map(bool, loads.values())) < parallel:
        return idle
    now = monotonic()
    nearly_done = [
        child
        for child, load in loads.items()
        if 0 < load < _MAX_TASKS and (not child.pending or now - child.started_at < RECLAIM_AFTER_SECONDS)
    ]
    return min(nearly_done, key=loads.__getitem__, default=idle)
