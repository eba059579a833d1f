"""Batches: tasks of one skill that run in one call, each with its own inputs, outputs and result."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Context
from threading import Condition, Thread
from time import monotonic
from types import TracebackType
from typing import Any

from avtomatika import metrics
from avtomatika.errors import PermanentError
from avtomatika.logs import log_ids

from .context import AsyncTaskContext, TaskContext
from .execution import TaskExecution
from .result import StopReason
from .skill import wrap

logger = logging.getLogger(__name__)

#: A task on its third attempt may have failed the others of its batch, so it runs alone.
ALONE_FROM_ATTEMPT = 3


class Batch:
    """*executions* of a skill that run in one call. Executors treat it like a TaskExecution.

    Each runs as a coroutine: it downloads its inputs, waits in :meth:`outcome` for the call, and uploads its outputs.
    The call starts when all of them wait or have ended.
    """

    def __init__(self, executions: Sequence[TaskExecution]) -> None:
        self.executions, first = executions, executions[0]
        self.task, self.limit_seconds, self.is_isolated = first.task, first.limit_seconds, first.is_isolated
        self._skill = first.skill
        self._coming = set(executions)
        self._ready = asyncio.Event()
        self._waiting: dict[TaskExecution, tuple[Any, Any, asyncio.Future[Any]]] = {}
        self._call: asyncio.Task[None] | None = None
        self._traceback: TracebackType | None = None
        for execution in executions:
            execution.batch = self

    @property
    def stop_reason(self) -> StopReason | None:
        """The reason if all of them are to stop."""
        reasons = [each.stop_reason for each in self.executions if each.result is None]
        return reasons[0] if reasons and all(reasons) else None

    def fail(self, problem: BaseException) -> None:
        """Finish those without a result from outside."""
        for execution in (each for each in self.executions if each.result is None):
            execution.fail(problem)

    def run(self) -> None:
        """Run a sync skill, outside of the event loop of its executions."""
        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            running = loop.create_task(self.run_async())
            loop.run_until_complete(self._ready.wait())
            with suppress(StopIteration):
                self._answer().send(None)  # nothing in it suspends
            loop.run_until_complete(running)

    async def run_async(self) -> None:
        """Run an async skill."""
        await asyncio.gather(*(each.run_async() for each in self.executions))

    async def outcome(self, execution: TaskExecution, context: TaskContext | AsyncTaskContext) -> Any:
        """Wait for the call, and return what the skill returned for *execution*. Raises what the skill raised, and
        InvalidInputError for invalid params."""
        params = self._skill.param_type.load(context.params, "params")
        answer = asyncio.get_running_loop().create_future()
        self._waiting[execution] = context, params, answer
        self.leave(execution)
        if self._skill.is_async and self._call is None:
            self._call = asyncio.create_task(self._answer(), context=Context())
        try:
            outcome = await answer
        finally:
            del self._waiting[execution]
            if self._call is not None and not self._waiting and not self._coming:
                self._call.cancel()  # it runs if all were cancelled
        if isinstance(outcome, BaseException):
            raise outcome.with_traceback(self._traceback)
        return outcome

    def leave(self, execution: TaskExecution) -> None:
        """Let the call start without waiting for *execution* any longer: it is ready, or has ended."""
        self._coming.discard(execution)
        if not self._coming:
            self._ready.set()

    async def _answer(self) -> None:
        """Call the skill once all executions are ready, and give each its outcome."""
        skill = self._skill
        await self._ready.wait()
        if not (waiting := list(self._waiting.values())):
            return
        contexts, params, answers = zip(*waiting, strict=True)
        given = {"params": [*params], "contexts": [*contexts]}
        arguments = {name: given[name] for name in skill.injected}
        ids = {"job_id": ",".join(each.job_id for each in contexts), "worker_id": contexts[0].worker_id}
        try:
            with log_ids(ids):
                called = wrap(lambda _: skill.function(**arguments), skill.middleware)([*contexts])
                outcomes = _checked(await called if skill.is_async else called, len(waiting))
        except BaseException as problem:
            outcomes, self._traceback = [problem] * len(waiting), problem.__traceback__
        for answer, outcome in zip(answers, outcomes, strict=True):
            if not answer.done():
                answer.set_result(outcome)


#: What an executor runs: one task, or several in one call.
Call = TaskExecution | Batch


def _checked(outcomes: Any, size: int) -> Sequence[Any]:
    """Return what a skill returned for *size* tasks. Raises PermanentError unless it is a list of that length."""
    if isinstance(outcomes, list | tuple) and len(outcomes) == size:
        return outcomes
    returned = f"{type(outcomes).__name__} of length {len(outcomes) if hasattr(outcomes, '__len__') else 'unknown'}"
    raise PermanentError(f"the skill must return a list of {size} results, one a task, but returned a {returned}")


class BatchCollector:
    """Collects executions of each skill, and calls *start* with a batch that is full or whose first execution has
    waited for ``max_wait_seconds``. At most *concurrency* batches run; the others grow in the meantime.

    Any thread may call it. *start* is called in a thread of its own.
    """

    def __init__(self, start: Callable[[Batch], None], *, concurrency: int) -> None:
        self._start = start
        self._concurrency = concurrency
        #: Executions with the time when their batch is due, by skill or, if they run alone, by task.
        self._waiting: dict[str, deque[tuple[float, TaskExecution]]] = {}
        self._running: set[Call] = set()
        self._changed = Condition()
        self._thread: Thread | None = None
        self._closing = False

    def add(self, executions: Sequence[TaskExecution]) -> None:
        with self._changed:
            for each in executions:
                is_alone = each.task.attempt >= ALONE_FROM_ATTEMPT
                key, wait = (each.task.task_id, 0) if is_alone else (each.skill.name, each.skill.max_wait_seconds)
                self._waiting.setdefault(key, deque()).append((monotonic() + wait, each))
            if self._thread is None and executions:
                self._thread = Thread(target=self._serve, name="batches", daemon=True)
                self._thread.start()
            self._changed.notify()

    def ended(self, *calls: Call) -> None:
        """Record that batches have ended, or will not run; other calls are ignored."""
        with self._changed:
            self._running.difference_update(calls)
            self._changed.notify()

    def withdraw(self) -> list[TaskExecution]:
        """Take back the executions that are in no batch yet."""
        with self._changed:
            withdrawn = [execution for waiting in self._waiting.values() for _, execution in waiting]
            self._waiting.clear()
        return withdrawn

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()

    def _serve(self) -> None:
        while not self._closing:
            with self._changed:
                batches = self._due()
                if not batches and not self._closing:
                    free = len(self._running) < self._concurrency
                    due = min((waiting[0][0] for waiting in self._waiting.values()), default=None) if free else None
                    self._changed.wait(None if due is None else max(due - monotonic(), 0))
            for batch in batches:
                metrics.series(metrics.BATCH_SIZE, batch.task.task_type).observe(len(batch.executions))
                try:
                    self._start(batch)
                except Exception:  # this thread must start other batches
                    logger.exception("a batch of %s cannot be started", batch.task.task_type)

    def _due(self) -> list[Batch]:
        """Remove and return the batches to start now, the longest due first."""
        now, batches = monotonic(), list[Batch]()
        for key, waiting in sorted(self._waiting.items(), key=lambda item: item[1][0][0]):
            size = waiting[0][1].skill.batch or 1
            while waiting and len(self._running) < self._concurrency and (len(waiting) >= size or waiting[0][0] <= now):
                batch = Batch([waiting.popleft()[1] for _ in range(min(size, len(waiting)))])
                self._running.add(batch)
                batches.append(batch)
            if not waiting:
                del self._waiting[key]
        return batches
