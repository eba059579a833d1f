"""Runs handlers: sync ones in threads, async ones together in an event loop, each for at most its time.

Whatever a handler does, the loop that asked goes on: it gets one outcome a call, in the order in which they end. The
time limit counts from when a handler begins. One that hangs is given up together with its thread or its event loop,
and these are replaced.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from time import monotonic

from .handler_call import HandlerCall, HandlerDisplacedError, HandlerResult, HandlerTimeoutError
from .handler_loops import HandlerLoops
from .handler_threads import HandlerThreads

__all__ = ["HandlerCall", "HandlerDisplacedError", "HandlerResult", "HandlerRunner", "HandlerTimeoutError"]

logger = logging.getLogger(__name__)

#: How long queued sync handlers wait for a busy thread before another one helps.
_GROW_AFTER_SECONDS = 0.005
#: How often calls are held against their time limit.
_WATCH_SECONDS = 0.25
#: What is longer between two looks was a pause of the caller or of the process: that part counts for no handler.
_PAUSE_SECONDS = 2.0
#: With so many handlers that were given up and run on the process should be replaced.
_MOST_ABANDONED = 16


class HandlerRunner:
    """Event loops and up to *threads* threads, for one caller."""

    def __init__(self, *, timeout_seconds: float, threads: int = 32) -> None:
        self._timeout_seconds = timeout_seconds
        self._outstanding: set[HandlerCall] = set()
        self._finished: deque[tuple[HandlerCall, HandlerResult]] = deque()
        self._news = threading.Event()
        self._watched = monotonic()
        self._threads = HandlerThreads(self._run_sync, at_most=threads, name="handler")
        self._loops = HandlerLoops(self._finish_async, threads=threads)

    @property
    def busy(self) -> int:
        """Calls whose outcome has not been collected."""
        return len(self._outstanding)

    @property
    def abandoned(self) -> int:
        """How many handlers were given up and still run, each in a thread that nothing can end."""
        return self._threads.abandoned + self._loops.abandoned

    @property
    def is_worn_out(self) -> bool:
        """Whether so many handlers hang that the process should be replaced."""
        return self.abandoned >= _MOST_ABANDONED

    def submit(self, calls: Sequence[HandlerCall]) -> None:
        """Begin with *calls*."""
        if not self._outstanding:
            self._watched = monotonic()
        self._outstanding.update(calls)
        if coroutines := [call for call in calls if call.is_async]:
            self._loops.add(coroutines)
        if functions := [call for call in calls if not call.is_async]:
            self._threads.add(functions)

    def collect(self, wait_seconds: float) -> list[HandlerResult]:
        """Outcomes that are new; waits up to *wait_seconds* for those that are outstanding."""
        deadline = monotonic() + wait_seconds
        while len(self._finished) < len(self._outstanding) and (left := deadline - monotonic()) > 0:
            self._news.wait(min(left, _GROW_AFTER_SECONDS))
            self._news.clear()
            self._threads.grow()
            self._loops.grow()
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
        self._loops.close()

    def _run_sync(self, call: HandlerCall, more: bool) -> None:
        try:
            outcome = HandlerResult(call.owner, returned=call.function())
        except BaseException as error:  # SystemExit of a handler is the handler's, not ours
            outcome = HandlerResult(call.owner, raised=error)
        self._finished.append((call, outcome))
        if not more:  # the caller is not woken for each of a batch
            self._news.set()

    def _finish_async(self, call: HandlerCall, outcome: HandlerResult) -> None:
        self._finished.append((call, outcome))
        self._news.set()

    def _give_up_late_calls(self) -> None:
        now = monotonic()
        if (pause := now - self._watched - _PAUSE_SECONDS) > 0:
            for call in self._outstanding:
                call.forgive(pause)
        self._watched = now

        def is_late(call: HandlerCall) -> bool:
            return call.started is not None and now - call.started > self._timeout_seconds

        for call in [call for call in self._threads.running() if is_late(call)]:
            self._abandon_thread(call)
        for call, displaced in self._loops.give_up(now, is_late):
            self._finished.append((call, HandlerResult(call.owner, raised=displaced or self._timeout())))

    def _abandon_thread(self, call: HandlerCall) -> None:
        stack = self._threads.abandon(call)
        if stack is not None:
            logger.warning("a handler of blueprint %r hangs and is given up. It is at:\n%s", call.group, stack)
            self._finished.append((call, HandlerResult(call.owner, raised=self._timeout())))

    def _timeout(self) -> HandlerTimeoutError:
        return HandlerTimeoutError(f"the handler took longer than HANDLER_TIMEOUT={self._timeout_seconds:g} seconds")
