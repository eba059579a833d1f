"""Runtime: starts tasks and collects their results, independently of where tasks come from.

A link may start tasks and collect results from different threads. Skills run in the runtime's threads and processes.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from threading import Event
from time import monotonic
from typing import Any

from avtomatika.files.task_storage import TaskStorage
from avtomatika.schemas.wire import TaskMessage

from .batch import Batch, BatchCollector, Call
from .durations import Durations
from .execution import TaskExecution
from .executors import AsyncExecutor, ThreadExecutor, TimeLimitWatcher
from .load import Capacity
from .processes.process_pool import ProcessExecutor
from .progress import ProgressReports
from .result import StopReason
from .skill import Skill
from .spool import RESULT_TTL_SECONDS
from .stream_buffer import StreamBuffer
from .suspension import SkillSuspension
from .task_records import log_end

logger = logging.getLogger(__name__)


#: A task delivered this often may have crashed earlier workers, so it runs alone in a child process.
ISOLATE_FROM_DELIVERY = 3


class Runtime:
    """Runs the *skills* of one worker, sync ones in at most *concurrency* threads. Without *storage*, S3 is
    disabled.

    With *processes*, suspect tasks run in child processes, and so do sync skills if *uses_processes*.
    *time_limit_seconds* applies to skills without a limit; a child process that ignores a stop request is
    killed after *kill_after_seconds*. A result that is too large is kept for *result_ttl_seconds*.
    """

    def __init__(
        self,
        skills: Mapping[str, Skill],
        *,
        worker_id: str,
        concurrency: int,
        storage: TaskStorage | None = None,
        processes: ProcessExecutor | None = None,
        uses_processes: bool = False,
        time_limit_seconds: float | None = None,
        kill_after_seconds: float = 10.0,
        result_ttl_seconds: float = RESULT_TTL_SECONDS,
        on_finish: Callable[[], None] | None = None,
        suspension: SkillSuspension | None = None,
    ) -> None:
        """*on_finish* is called from any thread when a task finishes. All links share *suspension*."""
        self._suspension = suspension
        self.worker_id = worker_id
        self.capacity = Capacity(skills, concurrency)
        self._on_finish = on_finish
        self.storage = storage or TaskStorage.without_s3()
        self._skills = skills
        self._processes = processes
        self._uses_processes = uses_processes
        self._time_limit_seconds = time_limit_seconds
        self._kill_after_seconds = kill_after_seconds
        self.result_ttl_seconds = result_ttl_seconds
        self._watcher = TimeLimitWatcher(self._check_time_limits)
        self._async_executor = AsyncExecutor(self._finish)
        self._thread_executor = ThreadExecutor(self._finish, max_threads=concurrency)
        self._collector = BatchCollector(lambda batch: self._start([batch]), concurrency=concurrency)
        self._in_flight: set[TaskExecution] = set()
        self._finished: deque[TaskExecution] = deque()
        self._wakeup = Event()
        self._alive_at: dict[str, float] = {}
        #: Recent task durations by skill.
        self.durations = Durations()
        #: Progress reported by skills.
        self.reports = ProgressReports(self._wakeup.set)
        #: The chunks that skills write and log.
        self.streams = StreamBuffer(self._wakeup.set)

    @property
    def in_flight(self) -> list[TaskExecution]:
        """Executions that are admitted and not yet collected."""
        return list(self._in_flight)

    @property
    def busy(self) -> int:
        """Number of executions that are admitted and not yet collected."""
        return len(self._in_flight)

    @property
    def running(self) -> int:
        """Number of executions without a result, as :attr:`capacity` counts those of batches."""
        if self.capacity.is_plain:
            return len(self._in_flight) - len(self._finished)
        return self.capacity.used([each for each in self.in_flight if each.result is None])

    @property
    def task_types(self) -> list[str]:
        """Task types that the worker has skills for."""
        return list(self._skills)

    @property
    def available_task_types(self) -> list[str]:
        """The :attr:`task_types` that are not suspended."""
        suspended = frozenset[str]() if self._suspension is None else self._suspension.suspended
        return [task_type for task_type in self._skills if task_type not in suspended]

    def mark_alive(self, loop: str) -> None:
        """Record that *loop* is running."""
        self._alive_at[loop] = monotonic()

    def ages(self) -> dict[str, float]:
        """Return the seconds since each loop last ran. For async skills it is the delay of the event loop, which grows
        while a skill blocks it."""
        now = monotonic()
        return {
            **{loop: now - alive_at for loop, alive_at in self._alive_at.items()},
            "async skills": self._async_executor.lag(),
        }

    def has_skill(self, task_type: str) -> bool:
        """Return whether tasks of that type can be started."""
        return task_type in self._skills

    def submit(self, tasks: Iterable[tuple[TaskMessage, Any]]) -> None:
        """:meth:`admit` and :meth:`start` tasks."""
        self.start(self.admit(tasks))

    def admit(self, tasks: Iterable[tuple[TaskMessage, Any]]) -> list[TaskExecution]:
        """Register tasks, each with its link's handle, as in flight. From then on they can be cancelled."""
        admitted = [self._new_execution(task, origin) for task, origin in tasks]
        self._in_flight.update(admitted)
        return admitted

    def start(self, admitted: Iterable[TaskExecution]) -> None:
        """Start admitted executions, those of batches once the batch is complete."""
        batched, others = list[TaskExecution](), list[Call]()
        for each in admitted:
            if each.skill.batch is None or each.is_isolated:
                others.append(each if each.skill.batch is None else Batch([each]))
            else:
                batched.append(each)
        self._collector.add(batched)
        self._start(others)

    def _start(self, calls: Iterable[Call]) -> None:
        coroutines, functions, in_processes = list[Call](), list[Call](), list[Call]()
        for call in calls:
            execution = call.executions[0]
            processes = self._processes_of(execution)
            (in_processes if processes else coroutines if execution.skill.is_async else functions).append(call)
        if in_processes and self._processes is not None:
            self._processes.start(in_processes, self._finish)
        if coroutines:
            self._async_executor.start(coroutines)
        if functions:
            self._thread_executor.start(functions)

    def collect(self, wait_seconds: float) -> list[TaskExecution]:
        """Return finished executions; wait up to *wait_seconds* for the first."""
        self._wakeup.wait(wait_seconds)
        self._wakeup.clear()
        collected = []
        while self._finished:
            collected.append(self._finished.popleft())
        self._in_flight.difference_update(collected)
        for execution in collected:
            execution.count()
            if execution.stop_reason is None and execution.result is not None:
                self.durations.record(execution.skill.name, (execution.result.duration_ms or 0) / 1000)
        self.reports.forget(execution.task.task_id for execution in collected)
        return collected

    def wake(self) -> None:
        """Wake a waiting :meth:`collect`."""
        self._wakeup.set()

    def withdraw(self, within_seconds: float = float("inf")) -> list[TaskExecution]:
        """Take back executions that have not started, and abandon those unlikely to finish *within_seconds*, judged by
        recent durations of the skill.

        Call it after the link has stopped taking tasks.
        """
        self._alive_at.pop("intake", None)
        calls = self._thread_executor.withdraw()
        if self._processes is not None:
            calls += self._processes.withdraw(self._finish)
        withdrawn = self._collector.withdraw() + [each for call in calls for each in call.executions]
        self._collector.ended(*calls)
        self._in_flight.difference_update(withdrawn)
        return withdrawn + self._abandon_slow(within_seconds)

    def cancel(self, matches: Callable[[TaskExecution], bool]) -> None:
        """Cancel matching executions: async skills get a CancelledError, sync skills see ``cancelled()`` return
        True."""
        for execution in list(self._in_flight):
            if execution.stop_reason is None and execution.result is None and matches(execution):
                self._stop(execution, StopReason.CANCELLED)

    def close(self) -> list[TaskExecution]:
        """Shut down, and return the unfinished executions, whose results are discarded."""
        abandoned = list(self._in_flight)
        self._in_flight.clear()
        self._watcher.stop()
        self._collector.close()
        self._thread_executor.close()
        self._async_executor.close()
        if self._processes is not None:
            self._processes.abandon(abandoned)
        return abandoned

    # ------------------------------------------------------------ inside

    def _new_execution(self, task: TaskMessage, origin: Any) -> TaskExecution:
        skill = self._skills[task.task_type]
        execution = TaskExecution(task, skill, self.worker_id, origin, self.storage, self.reports.report)
        execution.on_chunk = self.streams.write
        execution.limit_seconds = skill.time_limit_seconds or self._time_limit_seconds
        if execution.limit_seconds is not None or task.result_timeout_seconds is not None:
            self._watcher.start()
        if getattr(origin, "deliveries", 1) >= ISOLATE_FROM_DELIVERY:
            execution.is_isolated = True
        return execution

    def _processes_of(self, execution: TaskExecution) -> ProcessExecutor | None:
        """Return the pool if it runs in a child process."""
        is_in_child = execution.is_isolated or (self._uses_processes and not execution.skill.is_async)
        return self._processes if is_in_child else None

    def _stop(self, execution: TaskExecution, reason: StopReason) -> None:
        logger.info("task %s, attempt %d: stopping: %s", execution.task.task_id, execution.task.attempt, reason)
        execution.stop_reason, execution.stop_requested_at = reason, monotonic()
        if processes := self._processes_of(execution):
            processes.stop(execution)
            self._watcher.start()
        elif execution.skill.is_async:
            self._async_executor.cancel(execution)

    def _abandon_slow(self, within_seconds: float) -> list[TaskExecution]:
        now = monotonic()
        slow = []
        for execution in list(self._in_flight):
            if execution.result is None and execution.started_at is not None:
                left = self.durations.remaining(execution.skill.name, now - execution.started_at)
                if left is not None and left > within_seconds:
                    task = execution.task
                    logger.info(
                        "task %s, attempt %d: abandoned, would take another %.0f s", task.task_id, task.attempt, left
                    )
                    slow.append(execution)
        self._in_flight.difference_update(slow)  # their results are discarded
        for execution in slow:
            self._stop(execution, StopReason.CANCELLED)
        if self._processes is not None:
            self._processes.abandon(slow)
        return slow

    def _check_time_limits(self) -> None:
        """Stop executions over their time limit, and kill child processes that ignored a stop request."""
        now = monotonic()
        for execution in list(self._in_flight):
            if execution.result is not None or execution.started_at is None:
                continue
            if execution.stop_reason is None:
                reason = execution.overdue(now)
                if reason is not None:
                    self._stop(execution, reason)
            elif now - execution.stop_requested_at > self._kill_after_seconds and (
                (execution.batch or execution).stop_reason and (processes := self._processes_of(execution))
            ):
                execution.stop_requested_at = now
                processes.kill(execution)

    def _finish(self, call: Call) -> None:
        for execution in call.executions:
            self._finish_one(execution)
        if (batch := call.executions[0].batch) is not None and all(each.result for each in batch.executions):
            self._collector.ended(batch)

    def _finish_one(self, execution: TaskExecution) -> None:
        if execution not in self._in_flight:  # it was abandoned
            return
        if execution.result is None:
            execution.fail(RuntimeError("the task ended without a result"))
        if self._suspension is not None and execution.result is not None and execution.result.error:
            self._suspension.record_fault(execution.task.task_type, execution.result.error)
        log_end(execution)
        self._finished.append(execution)
        if not self._wakeup.is_set():  # one wake-up serves a whole batch
            self._wakeup.set()
        if self._on_finish is not None:
            self._on_finish()
