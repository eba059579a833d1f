"""The pool: tasks to children, and what becomes of both. One thread looks after all of them.

A child that dies costs the task that it had one attempt, and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic

from avtomatika.errors import PermanentError, TaskError, TransientError
from avtomatika.files.depot import Depot
from avtomatika.worker.assignment import Assignment
from avtomatika.worker.executors import OnEnd

from .child import Ended, Order, Word
from .member import Member, Recycling
from .zygote import Death, Zygote, ZygoteGone

logger = logging.getLogger(__name__)

#: Pause after the system had no process for us.
_RETRY_SECONDS = 0.5


class Processes:
    """Runs assignments in at most *at_most* children of *zygote*; any number of runtimes may share it."""

    def __init__(self, zygote: Zygote, *, at_most: int, depot: Depot, recycling: Recycling | None = None) -> None:
        self._zygote = zygote
        self._at_most = at_most
        self._depot = depot
        self._recycling = recycling or Recycling()
        self._waiting: deque[Assignment] = deque()
        self._on_end: dict[Assignment, OnEnd] = {}
        self._members: dict[int, Member] = {}
        self._errands: deque[Callable[[], None]] = deque()
        self._selector = selectors.DefaultSelector()
        self._wakes, self._waked = os.pipe()
        os.set_blocking(self._waked, False)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing = False

    # ------------------------------------------------------------ for any thread

    def start(self, assignments: list[Assignment], on_end: OnEnd) -> None:
        """Begin with *assignments* as soon as there are children for them; *on_end* is called as each ends."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="processes", daemon=True)
                self._thread.start()
        for assignment in assignments:
            self._on_end[assignment] = on_end
            self._waiting.append(assignment)
        self._wake()

    def stop(self, assignment: Assignment) -> None:
        """Have a child hear that it is to stop with *assignment*."""
        self._send(lambda: self._pass_on(assignment))

    def kill(self, assignment: Assignment) -> None:
        """End the child that has *assignment*, whatever it does."""
        self._send(lambda: self._kill(assignment))

    def withdraw(self, on_end: OnEnd) -> list[Assignment]:
        """Take back what has not begun, of those that were started with *on_end*."""
        withdrawn = [each for each in list(self._waiting) if self._on_end.get(each) == on_end]
        for assignment in list(withdrawn):
            try:
                self._waiting.remove(assignment)
                del self._on_end[assignment]
            except (ValueError, KeyError):  # it has begun this moment
                withdrawn.remove(assignment)
        return withdrawn

    def abandon(self, assignments: list[Assignment]) -> None:
        """Kill whatever is at *assignments*; nobody hears of them any more."""
        for assignment in assignments:
            if self._on_end.pop(assignment, None) is not None:
                self.kill(assignment)

    def close(self) -> None:
        """Kill all children."""
        self._closing = True
        self._wake()
        if self._thread is not None:
            self._thread.join()
        self._zygote.close()
        for member in self._members.values():
            if member.assignment is not None:
                self._depot.remove_left(member.assignment.task)
        for end in (self._wakes, self._waked):
            os.close(end)

    def _send(self, errand: Callable[[], None]) -> None:
        self._errands.append(errand)
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # then there is enough in it to wake anybody
            os.write(self._waked, b"\0")

    # ------------------------------------------------------------ in the thread

    def _serve(self) -> None:
        self._selector.register(self._wakes, selectors.EVENT_READ, self._look_up)
        self._selector.register(self._zygote, selectors.EVENT_READ, self._bury)
        while not self._closing:
            try:
                self._turn()
            except Exception:  # whatever it is: nobody else looks after them
                logger.exception("looking after the processes of skills failed; going on")

    def _turn(self) -> None:
        while self._errands:
            self._errands.popleft()()
        timeout = None if self._hand_out() else _RETRY_SECONDS
        for key, _ in self._selector.select(timeout):
            key.data()

    def _look_up(self) -> None:
        os.read(self._wakes, 65_536)

    def _hand_out(self) -> bool:
        """Give what waits to children; False where the system had no process for one that there may be."""
        while self._waiting:
            try:
                assignment = self._waiting.popleft()
            except IndexError:  # withdrawn this moment
                break
            if assignment not in self._on_end:  # abandoned
                continue
            try:
                member = self._member_for(assignment)
            except (ZygoteGone, OSError) as error:
                self._waiting.appendleft(assignment)
                if isinstance(error, ZygoteGone):
                    self._begin_anew()
                    continue
                logger.warning("no process for skills can be had, trying again: %s", error)
                return False
            if member is None:
                self._waiting.appendleft(assignment)
                break
            self._give(member, assignment)
        return True

    def _member_for(self, assignment: Assignment) -> Member | None:
        """A child that is free; a fresh one for a task that is to be alone."""
        idle = [member for member in self._members.values() if member.assignment is None]
        if idle and not assignment.is_alone:
            return idle[0]
        if len(self._members) >= self._at_most:
            if not idle:
                return None
            self._forget(idle[0])
        pid, connection = self._zygote.fork()
        member = self._members[pid] = Member(pid, connection)
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._hear(member))
        return member

    def _give(self, member: Member, assignment: Assignment) -> None:
        member.assignment = assignment
        assignment.begun_at = monotonic()
        if assignment.stop is not None:
            assignment.fail(TransientError("not begun"))
            self._end(member)
            return
        try:
            member.connection.send(Order(assignment.task, self._depot.payload.path))
        except OSError:  # it died while it was idle: another one may have better luck
            member.assignment = None
            self._forget(member)
            self._waiting.appendleft(assignment)

    def _hear(self, member: Member) -> None:
        if member.pid not in self._members:  # its death was told this moment
            return
        try:
            word: Word = member.connection.recv()
        except (EOFError, OSError):  # how it died is told by the zygote
            self._selector.unregister(member.connection)
            return
        self._take(member, word)

    def _take(self, member: Member, word: Word) -> None:
        assignment = member.assignment
        if assignment is None:
            return
        if isinstance(word, Ended):
            assignment.result = word.result
            member.done += 1
            self._end(member)
            if assignment.is_alone or self._recycling.is_due(member.done, word.memory_bytes):
                self._forget(member)
        else:
            assignment.on_progress(word)

    def _end(self, member: Member) -> None:
        """The assignment of *member* has its result."""
        assignment, member.assignment = member.assignment, None
        if assignment is not None:
            on_end = self._on_end.pop(assignment, None)
            if on_end is not None:
                on_end(assignment)

    def _pass_on(self, assignment: Assignment) -> None:
        member = self._holder(assignment)
        if member is not None and assignment.stop is not None:
            with contextlib.suppress(OSError):
                member.connection.send(assignment.stop)

    def _kill(self, assignment: Assignment) -> None:
        member = self._holder(assignment)
        if member is not None:
            self._zygote.kill(member.pid)

    def _holder(self, assignment: Assignment) -> Member | None:
        return next((member for member in self._members.values() if member.assignment is assignment), None)

    # ------------------------------------------------------------ deaths

    def _bury(self) -> None:
        try:
            deaths = self._zygote.deaths()
        except ZygoteGone:
            self._begin_anew()
            return
        for death in deaths:
            member = self._members.get(death.pid)
            if member is not None:
                self._lose(member, death)

    def _lose(self, member: Member, death: Death) -> None:
        with contextlib.suppress(EOFError, OSError):
            while member.connection.poll():  # its last words
                self._take(member, member.connection.recv())
        assignment = member.assignment
        if assignment is not None:
            task = assignment.task
            if assignment in self._on_end:
                logger.warning("task %s, attempt %d: the process of the skill %s", task.task_id, task.attempt, death)
                assignment.fail(_problem(assignment, death))
            self._depot.remove_left(task)
            self._end(member)
        self._forget(member)

    def _forget(self, member: Member) -> None:
        """If it lives, it ends when it sees that nobody needs it."""
        if self._members.pop(member.pid, None) is not None:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(member.connection)
            member.connection.close()

    def _begin_anew(self) -> None:
        logger.warning("the process that others are forked from was killed; beginning anew")
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(self._zygote)
        for member in list(self._members.values()):
            self._lose(member, Death(member.pid, 9))
        self._zygote.revive()
        self._selector.register(self._zygote, selectors.EVENT_READ, self._bury)


def _problem(assignment: Assignment, death: Death) -> TaskError:
    """One that was alone has done it to others before."""
    if assignment.is_alone:
        return PermanentError(
            f"the process of the skill {death}, where it was alone; earlier deliveries ended badly, too"
        )
    return TransientError(f"the process of the skill {death}")
