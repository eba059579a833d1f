"""Runs handlers: async ones together in one loop, sync ones in threads, each for at most its time.

Whatever a handler does, the loop that asked goes on: it gets one outcome a call, in the order in which they end.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

logger = logging.getLogger(__name__)

#: How long queued sync handlers wait for a busy thread before another one helps.
_GROW_AFTER_SECONDS = 0.005
#: How often calls are held against their time limit.
_WATCH_SECONDS = 0.25


@dataclass(slots=True, eq=False)
class Call:
    """A function to run, and the *owner* by which its outcome is known again."""

    owner: Any
    function: Callable[[], Any]
    is_async: bool
    started: float = 0.0
    task: asyncio.Task[None] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call: what it returned, or what it raised."""

    owner: Any
    returned: Any = None
    raised: BaseException | None = None


class HandlerTimeout(Exception):
    """A handler took longer than it may."""


class Runner:
    """One event loop and up to *threads* threads, for one caller."""

    def __init__(self, *, timeout_seconds: float, threads: int = 32) -> None:
        self._timeout_seconds = timeout_seconds
        self._outstanding: set[Call] = set()
        self._finished: deque[tuple[Call, Outcome]] = deque()
        self._news = threading.Event()
        self._watched = monotonic()
        self._threads = _Threads(self._run_sync, at_most=threads)
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def busy(self) -> int:
        """Calls whose outcome has not been collected."""
        return len(self._outstanding)

    def submit(self, calls: Sequence[Call]) -> None:
        """Begin with *calls*."""
        now = monotonic()
        for call in calls:
            call.started = now
        self._outstanding.update(calls)
        if coroutines := [call for call in calls if call.is_async]:
            self._event_loop().call_soon_threadsafe(self._begin, coroutines)
        if functions := [call for call in calls if not call.is_async]:
            self._threads.add(functions)

    def collect(self, wait_seconds: float) -> list[Outcome]:
        """Outcomes that are new; waits up to *wait_seconds* for those that are outstanding."""
        deadline = monotonic() + wait_seconds
        while len(self._finished) < len(self._outstanding) and (left := deadline - monotonic()) > 0:
            self._news.wait(min(left, _GROW_AFTER_SECONDS))
            self._news.clear()
            self._threads.grow()
        if self._outstanding and monotonic() - self._watched > _WATCH_SECONDS:
            self._give_up_late_calls()
        outcomes = []
        while self._finished:
            call, outcome = self._finished.popleft()
            if call in self._outstanding:  # else it was given up, and this comes too late
                self._outstanding.discard(call)
                outcomes.append(outcome)
        return outcomes

    def close(self) -> None:
        """Stop; what still runs is abandoned."""
        self._threads.close()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)

    def _run_sync(self, call: Call, more: bool) -> None:
        try:
            outcome = Outcome(call.owner, returned=call.function())
        except BaseException as error:  # SystemExit of a handler is the handler's, not ours
            outcome = Outcome(call.owner, raised=error)
        self._finish(call, outcome, quietly=more)

    def _begin(self, calls: Sequence[Call]) -> None:
        for call in calls:
            call.task = asyncio.ensure_future(self._run_async(call))

    async def _run_async(self, call: Call) -> None:
        try:
            outcome = Outcome(call.owner, returned=await call.function())
        except BaseException as error:  # a cancelled one was given up, and has its outcome
            outcome = Outcome(call.owner, raised=error)
        self._finish(call, outcome, quietly=False)

    def _finish(self, call: Call, outcome: Outcome, *, quietly: bool) -> None:
        """*quietly* while more will follow at once: the caller is not woken for each of a batch."""
        self._finished.append((call, outcome))
        if not quietly:
            self._news.set()

    def _give_up_late_calls(self) -> None:
        self._watched = now = monotonic()
        for call in [call for call in self._outstanding if now - call.started > self._timeout_seconds]:
            error = HandlerTimeout(f"the handler took longer than HANDLER_TIMEOUT={self._timeout_seconds:g} seconds")
            self._finished.append((call, Outcome(call.owner, raised=error)))  # first, so that it is the one that counts
            if call.task is not None and self._loop is not None:
                self._loop.call_soon_threadsafe(call.task.cancel)

    def _event_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._serve_loop, args=(self._loop,), name="async-handlers", daemon=True).start()
        return self._loop

    @staticmethod
    def _serve_loop(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            loop.close()


class _Threads:
    """Daemon threads that empty one queue; another one joins when those there are stuck."""

    def __init__(self, run: Callable[[Call, bool], None], *, at_most: int) -> None:
        self._run = run
        self._at_most = at_most
        self._queue: deque[Call] = deque()
        self._wake = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._idle = 0
        self._started = 0
        self._closed = False

    def add(self, calls: Sequence[Call]) -> None:
        self._queue.extend(calls)
        self._wake_one()

    def grow(self) -> None:
        """Have one more thread help if calls are still waiting."""
        if self._queue:
            self._wake_one()

    def close(self) -> None:
        self._closed = True
        for _ in range(self._started):
            self._wake.release()

    def _wake_one(self) -> None:
        with self._lock:
            if not self._idle and self._started < self._at_most:
                self._started += 1
                threading.Thread(target=self._serve, name=f"handler-{self._started}", daemon=True).start()
        self._wake.release()

    def _serve(self) -> None:
        while not self._closed:
            with self._lock:
                self._idle += 1
            self._wake.acquire()
            with self._lock:
                self._idle -= 1
            while not self._closed:
                try:
                    call = self._queue.popleft()
                except IndexError:
                    break
                self._run(call, bool(self._queue))
