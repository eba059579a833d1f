"""Executors: async skills share one event loop, sync skills run in threads. Tasks are started in batches.

A further thread watches the time limits.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from time import monotonic

from .batch import Call
from .execution import TaskExecution

logger = logging.getLogger(__name__)

#: Called from any thread with an execution, or a batch, that has its results.
OnFinish = Callable[[Call], None]

#: Time for a closed loop to cancel running tasks.
_CLOSE_SECONDS = 1.0
#: Interval between checks of time limits.
_CHECK_SECONDS = 0.2


class AsyncExecutor:
    """An event loop in its own thread, which starts with the first execution."""

    def __init__(self, on_finish: OnFinish) -> None:
        self._on_finish = on_finish
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()  # links may start at the same time
        self._tasks: dict[TaskExecution, asyncio.Task[None]] = {}
        self._pinged_at: float | None = None

    def start(self, calls: Sequence[Call]) -> None:
        with self._starting:
            loop = self._runner.get_loop()
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="async-skills", daemon=True)
                self._thread.start()
        loop.call_soon_threadsafe(self._start_tasks, [each for call in calls for each in call.executions])

    def cancel(self, execution: TaskExecution) -> None:
        """Cancel a running execution. Any thread may call it."""
        if self._thread is not None:
            self._runner.get_loop().call_soon_threadsafe(self._cancel, execution)

    def lag(self) -> float:
        """Return how many seconds the loop has not answered a ping, and send the next ping."""
        now = monotonic()
        if self._thread is not None and self._pinged_at is None:
            self._pinged_at = now
            self._runner.get_loop().call_soon_threadsafe(self._on_pong)
        pinged_at = self._pinged_at
        return 0.0 if pinged_at is None else now - pinged_at

    def close(self) -> None:
        """Cancel running tasks."""
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
                except BaseException:  # a skill's callback raised SystemExit, but all async skills need the loop
                    logger.exception("a callback stopped the event loop of async skills; restarting it")

    def _start_tasks(self, executions: Sequence[TaskExecution]) -> None:
        loop = self._runner.get_loop()
        for execution in executions:
            self._tasks[execution] = loop.create_task(self._run(execution))

    def _on_pong(self) -> None:
        self._pinged_at = None

    def _cancel(self, execution: TaskExecution) -> None:
        task = self._tasks.get(execution)
        # An unstarted execution checks for a stop request itself. If its asyncio task were cancelled, the coroutine
        # would never run and no result would be sent.
        if task is not None and execution.started_at is not None:
            task.cancel()

    async def _run(self, execution: TaskExecution) -> None:
        try:
            await execution.run_async()
        except Exception:
            logger.exception("task %s failed outside its skill", execution.task.task_id)
        del self._tasks[execution]
        self._on_finish(execution)


class ThreadExecutor:
    """Daemon threads that share one queue: as many as were needed at once, and no more than *max_threads*."""

    def __init__(self, on_finish: OnFinish, *, max_threads: int) -> None:
        self._on_finish = on_finish
        self._max_threads = max_threads
        self._queue: SimpleQueue[Call | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._unfinished = 0
        self._threads = 0

    def start(self, executions: Sequence[Call]) -> None:
        with self._lock:
            self._unfinished += len(executions)
            while self._threads < min(self._unfinished, self._max_threads):
                self._threads += 1
                threading.Thread(target=self._serve, name=f"skill-{self._threads}", daemon=True).start()
        for execution in executions:
            self._queue.put(execution)

    def withdraw(self) -> list[Call]:
        """Take back executions that no thread has started."""
        withdrawn = []
        try:
            while (execution := self._queue.get_nowait()) is not None:
                withdrawn.append(execution)
        except Empty:
            pass
        with self._lock:
            self._unfinished -= len(withdrawn)
        return withdrawn

    def close(self) -> None:
        """End the threads after their current execution, whose result is discarded."""
        for _ in range(self._threads):
            self._queue.put(None)

    def _serve(self) -> None:
        while (execution := self._queue.get()) is not None:
            try:
                execution.run()
            except Exception:  # the thread must serve other executions
                logger.exception("task %s failed outside its skill", execution.task.task_id)
            with self._lock:
                self._unfinished -= 1
            self._on_finish(execution)


class TimeLimitWatcher:
    """Calls *check* at regular intervals once started."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the thread, unless it runs already."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._serve, name="watch", daemon=True)
                    self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def _serve(self) -> None:
        while not self._stopped.wait(_CHECK_SECONDS):
            try:
                self._check()
            except Exception:  # time limits of all tasks depend on this loop
                logger.exception("error while checking time limits; continuing")
