"""A child as the pool sees it: what it has in hand, and when it is to be replaced."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from time import monotonic

from avtomatika.worker.execution import TaskExecution

from .claims import MAX_NUMBER, claim, offer
from .messages import ChildTask, Message, Messages, StopOrder, send
from .zygote import Zygote

#: A child has at most so many orders at a time ...
_MAX_ORDERS = 4
#: ... for no longer than this; what it has not begun with by then goes to others.
PATIENCE_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class RecycleLimits:
    """A child is replaced after so many tasks, or when it holds so much memory; None: never."""

    tasks: int | None = None
    memory_bytes: int | None = None

    def is_due(self, tasks: int, memory_bytes: int) -> bool:
        return (self.tasks is not None and tasks >= self.tasks) or (
            self.memory_bytes is not None and memory_bytes > self.memory_bytes
        )


@dataclass(slots=True, eq=False)
class Member:
    """``pending`` are the orders that it has no result of, the first of which it works on; ``done`` counts the others.

    The pool holds both ends of its claims, so that it can take back orders that the child has not begun with. It
    ``is_leaving`` when it gets no more orders.
    """

    pid: int
    connection: socket.socket
    offers: socket.socket
    claims: socket.socket
    pending: deque[tuple[int, TaskExecution]] = field(default_factory=deque)
    done: int = 0
    since: float = 0.0
    is_leaving: bool = False
    _number: int = 0
    _messages: Messages = field(init=False)

    def __post_init__(self) -> None:
        self._messages = Messages(self.connection)

    @classmethod
    def fork(cls, zygote: Zygote, *, is_leaving: bool = False) -> Member:
        """A new child. Raises ZygoteGoneError, OSError."""
        with ExitStack() as stack:
            ours, theirs = map(stack.enter_context, socket.socketpair())
            offers, claims = map(stack.enter_context, socket.socketpair())
            member = cls(zygote.fork((theirs, claims)), ours, offers, claims, is_leaving=is_leaving)
            stack.pop_all()
        theirs.close()
        return member

    def is_stuck(self, now: float) -> bool:
        """Whether what it works on takes longer than what waits behind that may wait."""
        return len(self.pending) > 1 and now - self.since > PATIENCE_SECONDS

    def give(self, assignments: Sequence[TaskExecution], payload_dir: str) -> None:
        """Raises OSError where it has died; then it has nothing of *assignments*."""
        orders = [self._order(assignment, payload_dir) for assignment in assignments]
        send(self.connection, orders)
        offer(self.offers, [order.number for order in orders])
        is_idle = not self.pending
        self.pending.extend(zip((order.number for order in orders), assignments, strict=True))
        if is_idle:
            self._begin()

    def take_back(self) -> list[TaskExecution]:
        """What it has not begun with, in the order in which it was given."""
        numbers = set()
        while (number := claim(self.claims, wait=False)) is not None:
            numbers.add(number)
        back = [assignment for number, assignment in self.pending if number in numbers]
        self.pending = deque(pair for pair in self.pending if pair[0] not in numbers)
        for assignment in back:
            assignment.begun_at = None
        return back

    def ended(self) -> TaskExecution | None:
        """It has the result of its first order."""
        if not self.pending:
            return None
        _, assignment = self.pending.popleft()
        self.done += 1
        if self.pending:
            self._begin()
        return assignment

    def stop(self, assignment: TaskExecution) -> None:
        """Have it hear that it is to stop with what it has begun."""
        for number, pending in self.pending:
            if pending is assignment and assignment.stop is not None:
                send(self.connection, [StopOrder(number, assignment.stop)])

    def messages(self) -> Iterable[Message]:
        """What it has said. Raises EOFError, OSError."""
        return self._messages.read(wait=False)

    def close(self) -> None:
        """If it lives, it ends."""
        for end in (self.connection, self.offers, self.claims):
            end.close()

    def _begin(self) -> None:
        self.since = self.pending[0][1].begun_at = monotonic()

    def _order(self, assignment: TaskExecution, payload_dir: str) -> ChildTask:
        self._number = self._number % MAX_NUMBER + 1
        return ChildTask(self._number, assignment.task, payload_dir, assignment.limit_seconds)


def choose(loads: Mapping[Member, int], *, at_once: int | None = None) -> Member | None:
    """An idle child, if any; *loads* counts the orders of each. For short tasks, where *at_once* children are busy, the
    one of these that will soon be done with what it has."""
    idle = next((member for member, load in loads.items() if not load), None)
    if at_once is None or sum(map(bool, loads.values())) < at_once:
        return idle
    now = monotonic()
    soon = [
        member
        for member, load in loads.items()
        if 0 < load < _MAX_ORDERS and (not member.pending or now - member.since < PATIENCE_SECONDS)
    ]
    return min(soon, key=loads.__getitem__, default=idle)
