"""An event loop for async handlers, in its own thread.

A handler that waits without ``await`` blocks the loop: it stops answering pings.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator, Iterable
from contextvars import copy_context
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary

from .handler_call import CURRENT_CALL, HandlerCall, HandlerResult, stack_of
from .handler_threads import LoopExecutor


class HandlerLoop:
    """Runs async calls concurrently; *finish* is called in its thread with each call that ends and its result."""

    def __init__(self, finish: Callable[[HandlerCall, HandlerResult], None], threads: LoopExecutor) -> None:
        self._finish = finish
        #: Calls whose handlers have not started; the thread that removes one is responsible for it.
        self.waiting: set[HandlerCall] = set()
        #: Calls whose handlers run, and their tasks.
        self._running: dict[HandlerCall, asyncio.Task[None]] = {}
        self._call_of: WeakKeyDictionary[asyncio.Task[Any], HandlerCall | None] = WeakKeyDictionary()
        self._stopping = False
        self._ping_sent_at: float | None = None
        #: Seconds without an answer, as of the last :meth:`check`.
        self.blocked_seconds = 0.0
        self._loop = asyncio.new_event_loop()
        self._loop.set_task_factory(self._new_task)
        self._loop.set_default_executor(threads)
        self._thread = threading.Thread(target=self._serve, name="async-handlers", daemon=True)
        self._thread.start()

    @property
    def running(self) -> list[HandlerCall]:
        """Calls whose handlers run."""
        return list(self._running)

    @property
    def is_alive(self) -> bool:
        """True while its thread runs."""
        return self._thread.is_alive()

    def start(self, calls: Iterable[HandlerCall]) -> None:
        """Start *calls*."""
        self.waiting.update(calls)
        self._loop.call_soon_threadsafe(self._start, list(calls))

    def cancel(self, call: HandlerCall) -> None:
        """Cancel the handler of *call*."""
        task = self._running.get(call)
        if task is not None:
            self._loop.call_soon_threadsafe(task.cancel)

    def reclaim_waiting(self) -> list[HandlerCall]:
        """Remove and return the calls that have not started."""
        taken = []
        while self.waiting:
            try:
                taken.append(self.waiting.pop())
            except KeyError:  # the last one has just started
                break
        return taken

    def stop(self) -> None:
        """Start nothing more, cancel running handlers and close the loop once it responds."""
        self._stopping = True
        self._loop.call_soon_threadsafe(self._stop)

    # ------------------------------------------------------------ blocked loops

    def check(self, now: float) -> None:
        """Ping the loop; call this several times a second. A time for which it was blocked counts only for the handler
        that blocked it."""
        if self._ping_sent_at is not None:
            self.blocked_seconds = now - self._ping_sent_at
            return
        if self.blocked_seconds:
            for call in self.running:
                call.extend(self.blocked_seconds)
            self.blocked_seconds = 0.0
        self._ping_sent_at = now
        self._loop.call_soon_threadsafe(self._pong)

    def blocking_call(self) -> HandlerCall | None:
        """Return the call whose code the loop runs at this moment."""
        task = asyncio.current_task(self._loop)
        return None if task is None else self._call_of.get(task)

    def stack(self) -> str:
        """Return the stack of its thread."""
        return stack_of(self._thread.ident)

    def _pong(self) -> None:
        self._ping_sent_at = None

    # ------------------------------------------------------------ in the loop's thread

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def _stop(self) -> None:
        for task in list(self._running.values()):
            task.cancel()
        self._loop.call_soon(self._loop.stop)

    def _start(self, calls: Iterable[HandlerCall]) -> None:
        for call in calls:
            try:
                self.waiting.remove(call)
            except KeyError:  # it was reclaimed
                continue
            context = copy_context()
            context.run(CURRENT_CALL.set, call)
            self._running[call] = self._loop.create_task(self._run(call), context=context)

    async def _run(self, call: HandlerCall) -> None:
        if self._stopping:
            return
        call.started = monotonic()
        try:
            result = HandlerResult(call.owner, returned=await call.function())
        except BaseException as error:  # a cancelled call already has its result
            result = HandlerResult(call.owner, raised=error)
        self._running.pop(call, None)
        self._finish(call, result)

    def _new_task(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        **options: Any,
    ) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
        context = options.get("context")
        self._call_of[task] = CURRENT_CALL.get() if context is None else context.get(CURRENT_CALL)
        return task
