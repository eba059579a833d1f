"""Process pool: assigns tasks to child processes. One thread reads from all of them.

A crash costs only the running task one attempt. While tasks are short, a child holds several, so that neither side
waits for the other; tasks that do not start soon are reclaimed.
"""

import contextlib
import logging
import os
import selectors
import threading
from collections.abc import Mapping
from time import monotonic

from avtomatika.files.task_storage import TaskStorage
from avtomatika.schemas.wire import Progress
from avtomatika.worker.batch import Call
from avtomatika.worker.durations import Durations
from avtomatika.worker.execution import TaskExecution
from avtomatika.worker.executors import OnFinish
from avtomatika.worker.recycling import RecycleLimits

from .child_process import RECLAIM_AFTER_SECONDS, ChildProcess, choose_child
from .messages import ChildChunk, ChildResult, Message
from .sockets import Waker
from .task_queue import TaskQueue
from .zygote import ProcessExit, Zygote, ZygoteGoneError, task_error_of

logger = logging.getLogger(__name__)

#: Delay after a failed fork.
_RETRY_SECONDS = 0.5


class ProcessExecutor:
    """Runs tasks in at most *max_children* children of *zygote*. Any number of runtimes may share it."""

    def __init__(
        self, zygote: Zygote, *, max_children: int, storage: TaskStorage, recycling: RecycleLimits | None = None
    ) -> None:
        self._zygote = zygote
        self._max_children = max_children
        self._storage = storage
        self._recycling = recycling
        self._durations = Durations()
        self._parallel = min(max_children, os.cpu_count() or 1)
        self._queue = TaskQueue()
        self._children: dict[int, ChildProcess] = {}
        self._selector = selectors.DefaultSelector()
        self._waker = Waker()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._fork_failed = self._is_waiting = self._closing = False

    # ------------------------------------------------------------ for any thread

    def start(self, executions: list[Call], on_finish: OnFinish) -> None:
        """Start *executions* as soon as children are free; *on_finish* is called for each one that finishes."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="processes", daemon=True)
                self._thread.start()
            self._queue.add(executions, on_finish)
            self._dispatch()
        self._queue.run_callbacks()

    def stop(self, execution: TaskExecution) -> None:
        """Request the child that runs *execution* to stop it."""
        with self._lock:
            if (child := self._child_running(execution)) is not None:
                with contextlib.suppress(OSError):
                    child.stop(execution)
            self._dispatch()
        self._queue.run_callbacks()

    def kill(self, execution: TaskExecution) -> None:
        """Kill the child that runs *execution*."""
        with self._lock:
            if (child := self._child_running(execution)) is not None:
                self._zygote.kill(child.pid)
            self._dispatch()
        self._queue.run_callbacks()

    def withdraw(self, on_finish: OnFinish) -> list[Call]:
        """Take back unstarted executions that were added with *on_finish*."""
        with self._lock:
            for child in self._children.values():
                self._reclaim(child)
            withdrawn = self._queue.withdraw(on_finish)
            self._dispatch()
        self._queue.run_callbacks()
        return withdrawn

    def abandon(self, executions: list[TaskExecution]) -> None:
        """Kill the children that run *executions*, and discard their results."""
        for execution in executions:
            if self._queue.forget(execution.batch or execution):
                self.kill(execution)

    def close(self) -> None:
        """Kill all children."""
        self._closing = True
        self._waker.wake()
        if self._thread is not None:
            self._thread.join()
        for child in self._children.values():
            child.close()
        self._zygote.close()
        for child in self._children.values():
            for _, execution in child.pending:
                self._remove_leftovers(execution)
        self._waker.close()

    # ------------------------------------------------------------ in the thread

    def _serve(self) -> None:
        self._selector.register(self._waker, selectors.EVENT_READ, self._waker.clear)
        self._selector.register(self._zygote, selectors.EVENT_READ, self._reap)
        while not self._closing:
            try:
                self._run_once()
                self._queue.run_callbacks()
            except Exception:  # this thread must keep serving the children
                logger.exception("error while serving child processes; continuing")

    def _run_once(self) -> None:
        with self._lock:
            timeout = self._timeout()
            self._is_waiting = timeout is None
        found = self._selector.select(timeout)
        with self._lock:
            self._is_waiting = False
            for key, _ in found:
                key.data()
            if self._zygote.has_exits:
                self._reap()
            now = monotonic()
            for child in self._children.values():
                if child.is_stuck(now):
                    self._reclaim(child)
            self._dispatch()

    def _timeout(self) -> float | None:
        if self._zygote.has_exits:
            return 0
        if self._fork_failed:
            return _RETRY_SECONDS
        has_more = any(len(child.pending) > 1 for child in self._children.values())
        return RECLAIM_AFTER_SECONDS if has_more else None

    # ------------------------------------------------------------ inside; the lock is held

    def _dispatch(self) -> None:
        """Assign queued tasks to children."""
        self._fork_failed = False
        zygote_exited, assigned = False, dict[ChildProcess, list[Call]]()
        while (execution := self._queue.next()) is not None:
            try:
                child = self._child_for(execution, assigned)
            except ZygoteGoneError:
                self._queue.put_back([execution])
                zygote_exited = True
                break
            except OSError as error:
                logger.warning("cannot fork a child process, retrying: %s", error)
                self._fork_failed, child = True, None
            if child is None:
                self._queue.put_back([execution])
                break
            assigned.setdefault(child, []).append(execution)
        for child, executions in assigned.items():
            self._assign(child, executions)
        if zygote_exited:
            self._restart_zygote()
            self._dispatch()
        if self._is_waiting and self._timeout() is not None:
            self._waker.wake()

    def _child_for(self, execution: Call, assigned: dict[ChildProcess, list[Call]]) -> ChildProcess | None:
        """Return a child that is free or soon will be; a new one for a task that runs isolated."""
        children = [child for child in self._children.values() if not child.is_retiring]
        loads = {child: len(child.pending) + len(assigned.get(child, ())) for child in children}
        if execution.is_isolated:
            return self._fork(loads, is_retiring=True)
        is_short = not self._recycling and self._durations.is_short(execution.task.task_type)
        return choose_child(loads, parallel=self._parallel if is_short else None) or self._fork(loads)

    def _fork(self, loads: Mapping[ChildProcess, int], *, is_retiring: bool = False) -> ChildProcess | None:
        if len(self._children) >= self._max_children:
            idle = choose_child(loads)
            if idle is None:
                return None
            self._remove(idle)
        child = ChildProcess.fork(self._zygote, is_retiring=is_retiring)
        self._children[child.pid] = child
        self._selector.register(child.connection, selectors.EVENT_READ, lambda: self._receive(child))
        return child

    def _assign(self, child: ChildProcess, executions: list[Call]) -> None:
        try:
            child.assign(executions, self._storage.payload.path)
        except OSError:  # it has exited, which the zygote is about to report, or does not read any more
            self._queue.put_back(executions)
            self._retire(child)

    def _retire(self, child: ChildProcess) -> None:
        """Assign nothing more to the child and kill it; the zygote reports its exit."""
        child.is_retiring = True
        self._zygote.kill(child.pid)

    def _reclaim(self, child: ChildProcess) -> None:
        self._queue.put_back(child.reclaim())

    def _child_running(self, execution: TaskExecution) -> ChildProcess | None:
        """Return the child that runs *execution*; if none has started it, reclaim it."""
        for child in self._children.values():
            if any(execution in pending.executions for _, pending in child.pending):
                self._reclaim(child)
                return child if any(execution in pending.executions for _, pending in child.pending) else None
        return None

    def _receive(self, child: ChildProcess) -> None:
        if child.pid not in self._children:  # its exit was just handled
            return
        try:
            for message in child.messages.read(wait=False):
                self._handle(child, message)
        except (EOFError, OSError):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(child.connection)
            self._retire(child)

    def _handle(self, child: ChildProcess, message: Message) -> None:
        match message:
            case ChildResult(result, seconds, memory_bytes, encoded, transferred, index) if child.pending:
                call = child.pending[0][1]
                execution = call.executions[index]
                execution.transferred = transferred
                execution.encoded, execution.result = encoded, result
                if any(each.result is None for each in call.executions):
                    return
                child.finish_first()
                self._durations.record(execution.task.task_type, seconds)
                self._queue.finish(call)
                if self._recycling is not None and self._recycling.reached(child.done, memory_bytes):
                    child.is_retiring = True
                    self._reclaim(child)
                if child.is_retiring and not child.pending:
                    self._remove(child)
            case Progress() if child.pending:
                child.pending[0][1].executions[0].on_progress(message)
            case ChildChunk(chunk, index) if child.pending:
                execution = child.pending[0][1].executions[index]
                execution.on_chunk(execution, chunk)

    # ------------------------------------------------------------ exits

    def _reap(self) -> None:
        try:
            exits = self._zygote.exits()
        except ZygoteGoneError:
            self._restart_zygote()
            return
        for exit_ in exits:
            if (child := self._children.get(exit_.pid)) is not None:
                self._on_exit(child, exit_)

    def _on_exit(self, child: ChildProcess, exit_: ProcessExit) -> None:
        with contextlib.suppress(EOFError, OSError):
            while messages := child.messages.read(wait=False):  # messages sent before the exit
                for message in messages:
                    self._handle(child, message)
        self._reclaim(child)
        for _, call in child.pending:
            if call in self._queue:
                tasks = ", ".join(f"{each.task.task_id}, attempt {each.task.attempt}" for each in call.executions)
                logger.warning("task %s: the process of the skill %s", tasks, exit_)
                call.fail(task_error_of(call, exit_))
            self._remove_leftovers(call)
            self._queue.finish(call)
        self._remove(child)

    def _remove_leftovers(self, call: Call) -> None:
        for execution in call.executions:
            self._storage.remove_leftovers(execution.task)

    def _remove(self, child: ChildProcess) -> None:
        if self._children.pop(child.pid, None) is not None:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(child.connection)
            child.close()

    def _restart_zygote(self) -> None:
        logger.warning("the zygote process was killed; restarting it")
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(self._zygote)
        for child in list(self._children.values()):
            self._on_exit(child, ProcessExit(child.pid, 9))
        self._zygote.start()
        self._selector.register(self._zygote, selectors.EVENT_READ, self._reap)
