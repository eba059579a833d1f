"""Threads for sync handlers, and for functions that async handlers run in a thread.

A thread whose call exceeds its time is abandoned: another takes its place, and it ends with that call.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from time import monotonic
from typing import Any

from .handler_call import CURRENT_CALL, HandlerCall, stack_of


class HandlerThreads:
    """Up to *max_threads* daemon threads that *run* calls. Groups take turns; none gets more than three quarters.

    A thread is added when the others stay busy (:meth:`grow`). *run* also receives whether another call follows at
    once.
    """

    def __init__(self, run: Callable[[HandlerCall, bool], None], *, max_threads: int, name: str) -> None:
        self._run = run
        self._max_threads = max_threads
        self._max_per_group = max(max_threads * 3 // 4, 1)
        self._name = name
        #: Group -> its waiting calls; the next group comes first.
        self._queues: dict[str, deque[HandlerCall]] = {}
        self._busy: Counter[str] = Counter()
        self._wake = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._idle = 0
        self._active: set[_Thread] = set()
        self._abandoned: set[_Thread] = set()
        self._closed = False

    @property
    def abandoned(self) -> int:
        """Number of threads that still run an abandoned call."""
        return len(self._abandoned)

    def add(self, calls: Iterable[HandlerCall]) -> None:
        """Run *calls*."""
        with self._lock:
            for call in calls:
                self._queues.setdefault(call.group, deque()).append(call)
        self._wake_one()

    def grow(self) -> None:
        """Add a thread if calls are still waiting."""
        if self._queues:
            self._wake_one()

    def running(self) -> list[HandlerCall]:
        """Return the running calls."""
        with self._lock:
            return [thread.call for thread in self._active if thread.call is not None]

    def abandon(self, call: HandlerCall) -> str | None:
        """Replace the thread that runs *call*. Return the stack of that thread, or None if *call* has just ended."""
        with self._lock:
            thread = next((thread for thread in self._active if thread.call is call), None)
            if thread is None:
                return None
            self._active.discard(thread)
            self._abandoned.add(thread)
            self._busy[call.group] -= 1
        self.grow()
        return stack_of(thread.ident)

    def close(self) -> None:
        self._closed = True
        for _ in range(len(self._active)):
            self._wake.release()

    def _wake_one(self) -> None:
        with self._lock:
            if not self._idle and len(self._active) < self._max_threads:
                thread = _Thread(self._serve, f"{self._name}-{len(self._active) + 1}")
                self._active.add(thread)
                thread.start()
        self._wake.release()

    def _serve(self, thread: "_Thread") -> None:
        while not self._closed:
            with self._lock:
                self._idle += 1
            self._wake.acquire()
            with self._lock:
                self._idle -= 1
            while not self._closed and (call := self._next(thread)) is not None:
                call.started = monotonic()
                self._run(call, bool(self._queues))
                if not self._finish_call(thread, call):
                    return

    def _next(self, thread: "_Thread") -> HandlerCall | None:
        """Return the next call of a group below its limit."""
        with self._lock:
            for group, calls in self._queues.items():
                if self._busy[group] < self._max_per_group:
                    thread.call = call = calls.popleft()
                    self._busy[group] += 1
                    del self._queues[group]
                    if calls:
                        self._queues[group] = calls
                    return call
        return None

    def _finish_call(self, thread: "_Thread", call: HandlerCall) -> bool:
        """Return whether *thread* may continue, that is, was not abandoned."""
        with self._lock:
            thread.call = None
            if thread in self._abandoned:
                self._abandoned.discard(thread)
                return False
            self._busy[call.group] -= 1
            return True


class _Thread(threading.Thread):
    """A thread of the pool and the call it runs."""

    def __init__(self, serve: "Callable[[_Thread], None]", name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.call: HandlerCall | None = None
        self._serve = serve

    def run(self) -> None:
        self._serve(self)


class LoopExecutor(ThreadPoolExecutor):
    """The default executor of the handlers' event loops, used by ``asyncio.to_thread``.

    Its threads are daemons, so that a hanging function never keeps the process from ending, and are abandoned with the
    handler that awaits them. asyncio requires the base class, which starts no thread here.
    """

    def __init__(self, *, max_threads: int) -> None:
        super().__init__(max_workers=1)
        self._handler_threads = HandlerThreads(_run_for_future, max_threads=max_threads, name="async-handler-thread")

    @property
    def abandoned(self) -> int:
        """Number of threads that still run an abandoned function."""
        return self._handler_threads.abandoned

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        parent, future = CURRENT_CALL.get(), Future[Any]()
        group = "" if parent is None else parent.group
        self._handler_threads.add(
            [HandlerCall(future, partial(fn, *args, **kwargs), False, group=group, parent=parent)]
        )
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing: a closing loop calls this, and other loops share these threads."""

    def close(self) -> None:
        """Run nothing more."""
        self._handler_threads.close()

    def grow(self) -> None:
        self._handler_threads.grow()

    def abandon(self, parents: Sequence[HandlerCall]) -> None:
        """Replace the threads that run functions for *parents*."""
        for call in self._handler_threads.running():
            if call.parent in parents:
                self._handler_threads.abandon(call)


def _run_for_future(call: HandlerCall, _: bool) -> None:
    future = call.owner
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(call.function())
    except BaseException as error:  # raised where the future is awaited
        future.set_exception(error)
