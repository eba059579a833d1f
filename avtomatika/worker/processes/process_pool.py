"""The pool: tasks to children, and what becomes of both. One thread listens to all of them.

A child that dies costs the task that it had begun with one attempt, and nothing else. Children may have further orders
while their tasks are short, so that neither side waits for the other; what is not begun with soon is taken back.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import threading
from collections.abc import Mapping
from time import monotonic

from avtomatika.files.task_storage import TaskStorage
from avtomatika.schemas.wire import Progress
from avtomatika.worker.execution import TaskExecution
from avtomatika.worker.executors import OnEnd

from .deaths import Death, problem_of
from .durations import Durations
from .member import PATIENCE_SECONDS, Member, RecycleLimits, choose
from .messages import ChildResult, Message
from .waiting import Waiting
from .waker import Waker
from .zygote import Zygote, ZygoteGoneError

logger = logging.getLogger(__name__)

#: Pause after the system had no process for us.
_RETRY_SECONDS = 0.5


class ProcessExecutor:
    """Runs assignments in at most *at_most* children of *zygote*; any number of runtimes may share it."""

    def __init__(
        self, zygote: Zygote, *, at_most: int, storage: TaskStorage, recycling: RecycleLimits | None = None
    ) -> None:
        self._zygote = zygote
        self._at_most = at_most
        self._storage = storage
        self._recycling = recycling
        self._durations = Durations()
        self._at_once = min(at_most, os.cpu_count() or 1)
        self._waiting = Waiting()
        self._members: dict[int, Member] = {}
        self._selector = selectors.DefaultSelector()
        self._waker = Waker()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_short_of_processes = False
        self._sleeps = False
        self._closing = False

    # ------------------------------------------------------------ for any thread

    def start(self, assignments: list[TaskExecution], on_end: OnEnd) -> None:
        """Begin with *assignments* as soon as there are children for them; *on_end* is called as each ends."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="processes", daemon=True)
                self._thread.start()
            self._waiting.add(assignments, on_end)
            self._hand_out()
        self._waiting.call_back()

    def stop(self, assignment: TaskExecution) -> None:
        """Have a child hear that it is to stop with *assignment*."""
        with self._lock:
            member = self._holder(assignment)
            if member is not None:
                with contextlib.suppress(OSError):
                    member.stop(assignment)
            self._hand_out()
        self._waiting.call_back()

    def kill(self, assignment: TaskExecution) -> None:
        """End the child that has *assignment*, whatever it does."""
        with self._lock:
            member = self._holder(assignment)
            if member is not None:
                self._zygote.kill(member.pid)
            self._hand_out()
        self._waiting.call_back()

    def withdraw(self, on_end: OnEnd) -> list[TaskExecution]:
        """Take back what has not begun, of those that were started with *on_end*."""
        with self._lock:
            for member in self._members.values():
                self._take_back(member)
            withdrawn = self._waiting.withdraw(on_end)
            self._hand_out()
        self._waiting.call_back()
        return withdrawn

    def abandon(self, assignments: list[TaskExecution]) -> None:
        """Kill whatever is at *assignments*; nobody hears of them any more."""
        for assignment in assignments:
            if self._waiting.forget(assignment):
                self.kill(assignment)

    def close(self) -> None:
        """Kill all children."""
        self._closing = True
        self._waker.wake()
        if self._thread is not None:
            self._thread.join()
        self._zygote.close()
        for member in self._members.values():
            for _, assignment in member.pending:
                self._storage.remove_leftovers(assignment.task)
            member.close()
        self._waker.close()

    # ------------------------------------------------------------ in the thread

    def _serve(self) -> None:
        self._selector.register(self._waker, selectors.EVENT_READ, self._waker.clear)
        self._selector.register(self._zygote, selectors.EVENT_READ, self._bury)
        while not self._closing:
            try:
                self._turn()
                self._waiting.call_back()
            except Exception:  # whatever it is: nobody else looks after them
                logger.exception("looking after the processes of skills failed; going on")

    def _turn(self) -> None:
        with self._lock:
            timeout = self._timeout()
            self._sleeps = timeout is None
        found = self._selector.select(timeout)
        with self._lock:
            self._sleeps = False
            for key, _ in found:
                key.data()
            now = monotonic()
            for member in self._members.values():
                if member.is_stuck(now):
                    self._take_back(member)
            self._hand_out()

    def _timeout(self) -> float | None:
        if self._is_short_of_processes:
            return _RETRY_SECONDS
        has_more = any(len(member.pending) > 1 for member in self._members.values())
        return PATIENCE_SECONDS if has_more else None

    # ------------------------------------------------------------ inside; the lock is held

    def _hand_out(self) -> None:
        """Give what waits to children."""
        self._is_short_of_processes = False
        is_gone, given = False, dict[Member, list[TaskExecution]]()
        while (assignment := self._waiting.next()) is not None:
            try:
                member = self._member_for(assignment, given)
            except ZygoteGoneError:
                self._waiting.put_back([assignment])
                is_gone = True
                break
            except OSError as error:
                logger.warning("no process for skills can be had, trying again: %s", error)
                self._is_short_of_processes, member = True, None
            if member is None:
                self._waiting.put_back([assignment])
                break
            given.setdefault(member, []).append(assignment)
        for member, assignments in given.items():
            self._give(member, assignments)
        if is_gone:
            self._begin_anew()
            self._hand_out()
        if self._sleeps and self._timeout() is not None:
            self._waker.wake()

    def _member_for(self, assignment: TaskExecution, given: dict[Member, list[TaskExecution]]) -> Member | None:
        """A child that is free, or soon will be; a fresh one for a task that is to be alone."""
        members = [member for member in self._members.values() if not member.is_leaving]
        loads = {member: len(member.pending) + len(given.get(member, ())) for member in members}
        if assignment.is_alone:
            return self._fresh(loads, is_leaving=True)
        is_short = not self._recycling and self._durations.is_short(assignment.task.task_type)
        return choose(loads, at_once=self._at_once if is_short else None) or self._fresh(loads)

    def _fresh(self, loads: Mapping[Member, int], *, is_leaving: bool = False) -> Member | None:
        if len(self._members) >= self._at_most:
            idle = choose(loads)
            if idle is None:
                return None
            self._forget(idle)
        member = Member.fork(self._zygote, is_leaving=is_leaving)
        self._members[member.pid] = member
        self._selector.register(member.connection, selectors.EVENT_READ, lambda: self._hear(member))
        return member

    def _give(self, member: Member, assignments: list[TaskExecution]) -> None:
        try:
            member.give(assignments, self._storage.payload.path)
        except OSError:  # it has died, which the zygote is about to tell, or does not listen any more
            self._waiting.put_back(assignments)
            self._drop(member)

    def _drop(self, member: Member) -> None:
        """Give it nothing more; how it died is told by the zygote."""
        member.is_leaving = True
        self._zygote.kill(member.pid)

    def _take_back(self, member: Member) -> None:
        self._waiting.put_back(member.take_back())

    def _holder(self, assignment: TaskExecution) -> Member | None:
        """The child that has begun with *assignment*; what none has begun with waits again."""
        for member in self._members.values():
            if any(pending is assignment for _, pending in member.pending):
                self._take_back(member)
                return member if any(pending is assignment for _, pending in member.pending) else None
        return None

    def _hear(self, member: Member) -> None:
        if member.pid not in self._members:  # its death was told this moment
            return
        try:
            for message in member.messages():
                self._take(member, message)
        except (EOFError, OSError):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(member.connection)
            self._drop(member)

    def _take(self, member: Member, message: Message) -> None:
        match message:
            case ChildResult(result, seconds, memory_bytes):
                assignment = member.ended()
                if assignment is None:
                    return
                assignment.result = result
                self._durations.took(assignment.task.task_type, seconds)
                self._waiting.end(assignment)
                if self._recycling is not None and self._recycling.is_due(member.done, memory_bytes):
                    member.is_leaving = True
                    self._take_back(member)
                if member.is_leaving and not member.pending:
                    self._forget(member)
            case Progress() if member.pending:
                member.pending[0][1].on_progress(message)

    # ------------------------------------------------------------ deaths

    def _bury(self) -> None:
        try:
            deaths = self._zygote.deaths()
        except ZygoteGoneError:
            self._begin_anew()
            return
        for death in deaths:
            member = self._members.get(death.pid)
            if member is not None:
                self._lose(member, death)

    def _lose(self, member: Member, death: Death) -> None:
        with contextlib.suppress(EOFError, OSError):
            while messages := list(member.messages()):  # its last words
                for message in messages:
                    self._take(member, message)
        self._take_back(member)
        for _, assignment in member.pending:
            task = assignment.task
            if assignment in self._waiting:
                logger.warning("task %s, attempt %d: the process of the skill %s", task.task_id, task.attempt, death)
                assignment.fail(problem_of(assignment, death))
            self._storage.remove_leftovers(task)
            self._waiting.end(assignment)
        self._forget(member)

    def _forget(self, member: Member) -> None:
        if self._members.pop(member.pid, None) is not None:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(member.connection)
            member.close()

    def _begin_anew(self) -> None:
        logger.warning("the process that others are forked from was killed; beginning anew")
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(self._zygote)
        for member in list(self._members.values()):
            self._lose(member, Death(member.pid, 9))
        self._zygote.revive()
        self._selector.register(self._zygote, selectors.EVENT_READ, self._bury)
