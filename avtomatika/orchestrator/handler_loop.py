"""An event loop for async handlers, in a thread of its own.

A handler blocks its loop when it waits without ``await``: then the loop does not answer.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator, Iterable
from contextvars import copy_context
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary

from .handler_call import CURRENT_CALL, HandlerCall, HandlerResult, stack_of
from .handler_threads import ThreadsOfLoop


class HandlerLoop:
    """Runs async calls together; *finish* is called, in its thread, with each that ends and what became of it."""

    def __init__(self, finish: Callable[[HandlerCall, HandlerResult], None], threads: ThreadsOfLoop) -> None:
        self._finish = finish
        #: Calls whose handlers have not begun yet; whoever removes one decides what becomes of it.
        self.waiting: set[HandlerCall] = set()
        #: Calls whose handlers have begun, and their tasks.
        self._begun: dict[HandlerCall, asyncio.Task[None]] = {}
        self._call_of: WeakKeyDictionary[asyncio.Task[Any], HandlerCall | None] = WeakKeyDictionary()
        self._stopping = False
        self._asked: float | None = None
        #: For how long it has not answered, as :meth:`look` found it.
        self.blocked_seconds = 0.0
        self._loop = asyncio.new_event_loop()
        self._loop.set_task_factory(self._new_task)
        self._loop.set_default_executor(threads)
        self._thread = threading.Thread(target=self._serve, name="async-handlers", daemon=True)
        self._thread.start()

    @property
    def begun(self) -> list[HandlerCall]:
        """Calls whose handlers have begun and not ended."""
        return list(self._begun)

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def begin(self, calls: Iterable[HandlerCall]) -> None:
        """Run *calls*."""
        self.waiting.update(calls)
        self._loop.call_soon_threadsafe(self._begin, list(calls))

    def cancel(self, call: HandlerCall) -> None:
        """Cancel the handler of *call*."""
        task = self._begun.get(call)
        if task is not None:
            self._loop.call_soon_threadsafe(task.cancel)

    def take_back(self) -> list[HandlerCall]:
        """The calls that have not begun: they will not begin here any more."""
        taken = []
        while self.waiting:
            try:
                taken.append(self.waiting.pop())
            except KeyError:  # the last one has begun just now
                break
        return taken

    def stop(self) -> None:
        """Begin with nothing more, cancel what runs in the loop and end it, once it runs again."""
        self._stopping = True
        self._loop.call_soon_threadsafe(self._stop)

    # ------------------------------------------------------------ is it blocked?

    def look(self, now: float) -> None:
        """Find out whether it answers: call it several times a second. A time for which it was blocked counts for no
        handler but the one that blocked it."""
        if self._asked is not None:
            self.blocked_seconds = now - self._asked
            return
        if self.blocked_seconds:
            for call in self.begun:
                call.forgive(self.blocked_seconds)
            self.blocked_seconds = 0.0
        self._asked = now
        self._loop.call_soon_threadsafe(self._answer)

    def culprit(self) -> HandlerCall | None:
        """The call whose code runs in the loop at this moment."""
        task = asyncio.current_task(self._loop)
        return None if task is None else self._call_of.get(task)

    def stack(self) -> str:
        """Where its thread is."""
        return stack_of(self._thread.ident)

    def _answer(self) -> None:
        self._asked = None

    # ------------------------------------------------------------ in its thread

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def _stop(self) -> None:
        for task in list(self._begun.values()):
            task.cancel()
        self._loop.call_soon(self._loop.stop)

    def _begin(self, calls: Iterable[HandlerCall]) -> None:
        for call in calls:
            try:
                self.waiting.remove(call)
            except KeyError:  # it was taken back
                continue
            context = copy_context()
            context.run(CURRENT_CALL.set, call)
            self._begun[call] = self._loop.create_task(self._run(call), context=context)

    async def _run(self, call: HandlerCall) -> None:
        if self._stopping:
            return
        call.started = monotonic()
        try:
            outcome = HandlerResult(call.owner, returned=await call.function())
        except BaseException as error:  # a cancelled one was given up, and has its outcome
            outcome = HandlerResult(call.owner, raised=error)
        self._begun.pop(call, None)
        self._finish(call, outcome)

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
