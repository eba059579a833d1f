"""Execution of handlers: sync ones in threads, async ones in an event loop, each with a time limit.

The caller gets one result for each call, in the order in which they end. The time limit counts
from the start of a handler. A handler that hangs is abandoned with its thread or event loop, which is replaced.
"""

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

#: Wait of queued sync handlers for a busy thread before another one is added.
_GROW_AFTER_SECONDS = 0.005
#: Interval of time limit checks.
_WATCH_SECONDS = 0.25
#: A longer gap between two checks means that the caller or the process was suspended; the excess counts for no handler.
_PAUSE_SECONDS = 2.0
#: With this many abandoned handlers still running, the process should be replaced.
_MAX_ABANDONED = 16


class HandlerRunner:
    """Event loops and up to *threads* threads, for one caller."""

    def __init__(self, *, timeout_seconds: float, threads: int = 32) -> None:
        self._timeout_seconds = timeout_seconds
        self._outstanding: set[HandlerCall] = set()
        self._finished: deque[tuple[HandlerCall, HandlerResult]] = deque()
        self._wakeup = threading.Event()
        self._checked_at = monotonic()
        self._threads = HandlerThreads(self._run_sync, max_threads=threads, name="handler")
        self._loops = HandlerLoops(self._finish_async, threads=threads)

    @property
    def busy(self) -> int:
        """Number of calls whose result has not been collected."""
        return len(self._outstanding)

    @property
    def abandoned(self) -> int:
        """Number of abandoned handlers that still run; nothing can end their threads."""
        return self._threads.abandoned + self._loops.abandoned

    @property
    def needs_restart(self) -> bool:
        """True if so many handlers hang that the process should be replaced."""
        return self.abandoned >= _MAX_ABANDONED

    def submit(self, calls: Sequence[HandlerCall]) -> None:
        """Start *calls*."""
        if not self._outstanding:
            self._checked_at = monotonic()
        self._outstanding.update(calls)
        if coroutines := [call for call in calls if call.is_async]:
            self._loops.add(coroutines)
        if functions := [call for call in calls if not call.is_async]:
            self._threads.add(functions)

    def collect(self, wait_seconds: float) -> list[HandlerResult]:
        """Return new results; wait up to *wait_seconds* while calls are outstanding."""
        deadline = monotonic() + wait_seconds
        while len(self._finished) < len(self._outstanding) and (left := deadline - monotonic()) > 0:
            self._wakeup.wait(min(left, _GROW_AFTER_SECONDS))
            self._wakeup.clear()
            self._threads.grow()
            self._loops.grow()
        if self._outstanding and monotonic() - self._checked_at > _WATCH_SECONDS:
            self._end_late_calls()
        results = []
        while self._finished:
            call, result = self._finished.popleft()
            if call in self._outstanding:  # otherwise it was abandoned, and this is late
                self._outstanding.discard(call)
                results.append(result)
        return results

    def close(self) -> None:
        """Stop; abandon what still runs."""
        self._threads.close()
        self._loops.close()

    def _run_sync(self, call: HandlerCall, more: bool) -> None:
        try:
            result = HandlerResult(call.owner, returned=call.function())
        except BaseException as error:  # a handler's SystemExit must not end this thread
            result = HandlerResult(call.owner, raised=error)
        self._finished.append((call, result))
        if not more:  # wake the caller once for a batch
            self._wakeup.set()

    def _finish_async(self, call: HandlerCall, result: HandlerResult) -> None:
        self._finished.append((call, result))
        self._wakeup.set()

    def _end_late_calls(self) -> None:
        now = monotonic()
        if (pause := now - self._checked_at - _PAUSE_SECONDS) > 0:
            for call in self._outstanding:
                call.extend(pause)
        self._checked_at = now

        def is_late(call: HandlerCall) -> bool:
            return call.started is not None and now - call.started > self._timeout_seconds

        for call in [call for call in self._threads.running() if is_late(call)]:
            self._abandon_thread(call)
        for call, displaced in self._loops.end_late_calls(now, is_late):
            self._finished.append((call, HandlerResult(call.owner, raised=displaced or self._timeout())))

    def _abandon_thread(self, call: HandlerCall) -> None:
        stack = self._threads.abandon(call)
        if stack is not None:
            logger.warning("a handler of blueprint %r hangs and is abandoned. Stack:\n%s", call.group, stack)
            self._finished.append((call, HandlerResult(call.owner, raised=self._timeout())))

    def _timeout(self) -> HandlerTimeoutError:
        return HandlerTimeoutError(f"the handler exceeded HANDLER_TIMEOUT={self._timeout_seconds:g} seconds")
