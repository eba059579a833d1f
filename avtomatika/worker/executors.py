"""Where skills run: async ones together in one event loop, sync ones in threads. Both are told of whole batches."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from time import monotonic

from .execution import TaskExecution

logger = logging.getLogger(__name__)

#: Called, in whatever thread, with an assignment that has its result.
OnEnd = Callable[[TaskExecution], None]

#: How long a closed loop may take to cancel what still runs in it.
_CLOSE_SECONDS = 1.0


class AsyncExecutor:
    """An event loop in a thread of its own, which begins with the first assignment."""

    def __init__(self, on_end: OnEnd) -> None:
        self._on_end = on_end
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()  # links may begin at the same time
        self._tasks: dict[TaskExecution, asyncio.Task[None]] = {}
        self._asked_at: float | None = None

    def start(self, assignments: Sequence[TaskExecution]) -> None:
        with self._starting:
            loop = self._runner.get_loop()
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="async-skills", daemon=True)
                self._thread.start()
        loop.call_soon_threadsafe(self._begin, assignments)

    def cancel(self, assignment: TaskExecution) -> None:
        """Have an assignment that runs hear a CancelledError. Any thread."""
        if self._thread is not None:
            self._runner.get_loop().call_soon_threadsafe(self._cancel, assignment)

    def lag(self) -> float:
        """How long the loop has not come to what it was asked, in seconds; asks it, too."""
        now = monotonic()
        if self._thread is not None and self._asked_at is None:
            self._asked_at = now
            self._runner.get_loop().call_soon_threadsafe(self._answer)
        asked_at = self._asked_at
        return 0.0 if asked_at is None else now - asked_at

    def close(self) -> None:
        """Cancel what still runs."""
        thread, self._thread = self._thread, None
        if thread is not None:
            loop = self._runner.get_loop()
            loop.call_soon_threadsafe(loop.stop)
            thread.join(_CLOSE_SECONDS)

    def _serve(self) -> None:
        with self._runner:
            while self._thread is not None:
                try:
                    self._runner.get_loop().run_forever()
                except BaseException:  # a callback of a skill raised SystemExit; all async skills need the loop
                    logger.exception("the event loop of async skills was ended; going on")

    def _begin(self, assignments: Sequence[TaskExecution]) -> None:
        loop = self._runner.get_loop()
        for assignment in assignments:
            self._tasks[assignment] = loop.create_task(self._perform(assignment))

    def _answer(self) -> None:
        self._asked_at = None

    def _cancel(self, assignment: TaskExecution) -> None:
        task = self._tasks.get(assignment)
        # What has not begun sees by itself that it is to stop: cancelled, its coroutine would never run, nor answer.
        if task is not None and assignment.begun_at is not None:
            task.cancel()

    async def _perform(self, assignment: TaskExecution) -> None:
        try:
            await assignment.perform_async()
        except Exception:
            logger.exception("task %s failed outside its skill", assignment.task.task_id)
        del self._tasks[assignment]
        self._on_end(assignment)


class ThreadExecutor:
    """As many daemon threads as were ever needed at a time, *at_most* so many, emptying one queue."""

    def __init__(self, on_end: OnEnd, *, at_most: int) -> None:
        self._on_end = on_end
        self._at_most = at_most
        self._queue: SimpleQueue[TaskExecution | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._unfinished = 0
        self._threads = 0

    def start(self, assignments: Sequence[TaskExecution]) -> None:
        with self._lock:
            self._unfinished += len(assignments)
            missing = min(self._unfinished, self._at_most) - self._threads
        for _ in range(missing):
            self._threads += 1
            threading.Thread(target=self._serve, name=f"skill-{self._threads}", daemon=True).start()
        for assignment in assignments:
            self._queue.put(assignment)

    def withdraw(self) -> list[TaskExecution]:
        """Take back what no thread has begun with."""
        withdrawn = []
        try:
            while (assignment := self._queue.get_nowait()) is not None:
                withdrawn.append(assignment)
        except Empty:
            pass
        with self._lock:
            self._unfinished -= len(withdrawn)
        return withdrawn

    def close(self) -> None:
        """Have the threads end when they are done; what they still do is abandoned."""
        for _ in range(self._threads):
            self._queue.put(None)

    def _serve(self) -> None:
        while (assignment := self._queue.get()) is not None:
            try:
                assignment.perform()
            except Exception:  # the thread has to perform others
                logger.exception("task %s failed outside its skill", assignment.task.task_id)
            with self._lock:
                self._unfinished -= 1
            self._on_end(assignment)
