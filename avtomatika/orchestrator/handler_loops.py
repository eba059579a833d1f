"""Event loops of async handlers: a shared one, and a separate one for each blueprint that has blocked it.

A blocking handler delays only its own blueprint: calls that have not started move to another loop. If the blocking
handler is abandoned with its loop, the other running calls are displaced and run again.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Sequence
from contextvars import copy_context
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary

from .handler_call import CURRENT_CALL, HandlerCall, HandlerDisplacedError, HandlerResult, stack_of
from .handler_threads import LoopExecutor

logger = logging.getLogger(__name__)

#: A loop that has not answered for this long is blocked.
_BLOCKED_SECONDS = 1.0
_SHARED = ""


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


class HandlerLoops:
    """Event loops for one caller; *finish* is called in their threads with each call that ends."""

    def __init__(self, finish: Callable[[HandlerCall, HandlerResult], None], *, threads: int) -> None:
        self._finish = finish
        self._threads = LoopExecutor(max_threads=threads)
        self._loops: dict[str, HandlerLoop] = {}
        #: Blueprints that have blocked the shared loop.
        self._isolated: set[str] = set()
        #: Loops that take no new calls and finish the running ones.
        self._draining: list[HandlerLoop] = []
        #: Abandoned loops and cancelled calls that still run.
        self._abandoned: list[HandlerLoop] = []
        self._cancelled: set[HandlerCall] = set()

    @property
    def abandoned(self) -> int:
        """Number of abandoned handlers, threads and loops that still run."""
        self._abandoned = [loop for loop in self._abandoned if loop.is_alive]
        if self._cancelled:
            self._cancelled &= {call for loop in (*self._loops.values(), *self._draining) for call in loop.running}
        return len(self._abandoned) + len(self._cancelled) + self._threads.abandoned

    def add(self, calls: Sequence[HandlerCall]) -> None:
        """Run *calls*."""
        by_loop: dict[str, list[HandlerCall]] = {}
        for call in calls:
            by_loop.setdefault(call.group if call.group in self._isolated else _SHARED, []).append(call)
        for name, loop_calls in by_loop.items():
            if name not in self._loops:
                self._loops[name] = HandlerLoop(self._finish, self._threads)
            self._loops[name].start(loop_calls)

    def grow(self) -> None:
        """Add a thread if async handlers wait for one."""
        self._threads.grow()

    def end_late_calls(
        self, now: float, is_late: Callable[[HandlerCall], bool]
    ) -> Iterator[tuple[HandlerCall, BaseException | None]]:
        """End calls that exceeded their time; yield them, and displaced calls with an error."""
        for loop in (*self._loops.values(), *self._draining):
            loop.check(now)
            if loop.blocked_seconds > _BLOCKED_SECONDS:
                yield from self._handle_blocked(loop, is_late)
            else:
                yield from self._cancel(loop, [call for call in loop.running if is_late(call)])
        for loop in [loop for loop in self._draining if not loop.running]:
            self._draining.remove(loop)
            loop.stop()

    def close(self) -> None:
        """Stop; abandon what still runs."""
        self._threads.close()
        for loop in (*self._loops.values(), *self._draining):
            loop.stop()

    def _cancel(self, loop: HandlerLoop, calls: Sequence[HandlerCall]) -> Iterator[tuple[HandlerCall, None]]:
        late = [call for call in calls if call not in self._cancelled]
        for call in late:
            yield call, None  # before it is cancelled, so that this result counts
            self._cancelled.add(call)
            loop.cancel(call)
        self._threads.abandon(late)

    # ------------------------------------------------------------ blocked loops

    def _handle_blocked(
        self, loop: HandlerLoop, is_late: Callable[[HandlerCall], bool]
    ) -> Iterator[tuple[HandlerCall, BaseException | None]]:
        blocking_call, running = loop.blocking_call(), loop.running
        if loop is self._loops.get(_SHARED):
            self._isolate(loop, blocking_call)
        known = (
            [blocking_call] if blocking_call in running else running
        )  # if no call is seen to block the loop, all are suspects
        late = [call for call in known if is_late(call)]
        if not late and known:
            return
        for call in running:
            is_displaced = call not in late
            yield call, HandlerDisplacedError("a handler blocked the event loop") if is_displaced else None
        self._abandon(loop)

    def _isolate(self, loop: HandlerLoop, blocking_call: HandlerCall | None) -> None:
        """Move calls that have not started to another loop, a separate one for the blocking blueprint."""
        whose = "an unknown blueprint" if blocking_call is None else f"blueprint {blocking_call.group!r}"
        logger.warning(
            "an async handler of %s blocks the event loop; moving its blueprint to a separate loop. Stack:\n%s",
            whose,
            loop.stack(),
        )
        if blocking_call is not None:
            self._isolated.add(blocking_call.group)
        del self._loops[_SHARED]
        self._draining.append(loop)
        self.add(loop.reclaim_waiting())

    def _abandon(self, loop: HandlerLoop) -> None:
        """Abandon *loop*; it closes if it responds again."""
        for name in [name for name, known in self._loops.items() if known is loop]:
            del self._loops[name]
        if loop in self._draining:
            self._draining.remove(loop)
        self._abandoned.append(loop)
        loop.stop()
        self.add(loop.reclaim_waiting())
