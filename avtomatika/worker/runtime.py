"""The runtime: begins with tasks, and gathers what becomes of them. Knows nothing of where tasks come from.

A link starts tasks and collects results, from two threads if it likes; skills run in threads of the runtime's own.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from threading import Event
from time import monotonic
from typing import Any

from avtomatika.files.task_storage import TaskStorage
from avtomatika.schemas.wire import TaskMessage

from .durations import DurationEstimates
from .execution import TaskExecution
from .executors import AsyncExecutor, ThreadExecutor
from .fitness import Fitness
from .processes.process_pool import ProcessExecutor
from .progress import Reports
from .skill import Skill
from .stop import StopReason
from .time_limits import TimeLimitWatcher

logger = logging.getLogger(__name__)


#: A task that was delivered so often may have killed whoever had it: from then on it is in a process of its own.
ALONE_FROM = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How tasks are run.

    Where there are *processes*, tasks that may be dangerous run there, and sync skills if *uses_processes*.
    *time_limit_seconds* is for skills that say nothing; a process that does not stop is killed after a while.
    """

    processes: ProcessExecutor | None = None
    uses_processes: bool = False
    time_limit_seconds: float | None = None
    kill_after_seconds: float = 10.0


_TERMS = RunOptions()


class Runtime:
    """Runs *skills* for one worker; sync ones in at most *concurrency* threads. Without a *storage* S3 is off."""

    def __init__(
        self,
        skills: Mapping[str, Skill],
        *,
        worker_id: str,
        concurrency: int,
        storage: TaskStorage | None = None,
        terms: RunOptions = _TERMS,
        on_end: Callable[[], None] | None = None,
        fitness: Fitness | None = None,
    ) -> None:
        """*on_end* is called, in whatever thread, when a task has ended. *fitness* is shared by all links."""
        self._fitness = fitness
        self.worker_id = worker_id
        self.concurrency = concurrency
        self._on_end = on_end
        self._storage = storage or TaskStorage.without_s3()
        self._skills = skills
        self._terms = terms
        self._processes = terms.processes
        self._watch = TimeLimitWatcher(self._look)
        self._loop = AsyncExecutor(self._ended)
        self._threads = ThreadExecutor(self._ended, at_most=concurrency)
        self._in_hand: set[TaskExecution] = set()
        self._finished: deque[TaskExecution] = deque()
        self._news = Event()
        self._moved: dict[str, float] = {}
        #: How long tasks took lately.
        self.usual = DurationEstimates()
        #: What skills tell of how far they are.
        self.reports = Reports(self._news.set)

    @property
    def in_hand(self) -> list[TaskExecution]:
        """What is begun and not collected."""
        return list(self._in_hand)

    @property
    def busy(self) -> int:
        """How many assignments are begun and not collected."""
        return len(self._in_hand)

    @property
    def running(self) -> int:
        """How many assignments have no result yet."""
        return len(self._in_hand) - len(self._finished)

    @property
    def task_types(self) -> list[str]:
        """What there are skills for."""
        return list(self._skills)

    @property
    def fit_task_types(self) -> list[str]:
        """Those of :attr:`task_types` that are not suspended."""
        suspended = frozenset[str]() if self._fitness is None else self._fitness.suspended
        return [task_type for task_type in self._skills if task_type not in suspended]

    def move(self, loop: str) -> None:
        """A loop that serves tasks has come round once more."""
        self._moved[loop] = monotonic()

    def ages(self) -> dict[str, float]:
        """How many seconds ago each loop has moved; that of async skills is asked, and is late where one blocks it."""
        now = monotonic()
        return {**{loop: now - moved for loop, moved in self._moved.items()}, "async skills": self._loop.lag()}

    def has_skill(self, task_type: str) -> bool:
        """Whether tasks of that type can be started."""
        return task_type in self._skills

    def start(self, tasks: Iterable[tuple[TaskMessage, Any]]) -> None:
        """:meth:`admit` and :meth:`begin` in one."""
        self.begin(self.admit(tasks))

    def admit(self, tasks: Iterable[tuple[TaskMessage, Any]]) -> list[TaskExecution]:
        """Take tasks of skills that there are in hand, each with what its link knows it by. They can be cancelled."""
        admitted = [self._assignment(task, origin) for task, origin in tasks]
        self._in_hand.update(admitted)
        return admitted

    def begin(self, admitted: Iterable[TaskExecution]) -> None:
        """Begin with what was admitted."""
        coroutines: list[TaskExecution] = []
        functions: list[TaskExecution] = []
        apart: list[TaskExecution] = []
        for assignment in admitted:
            is_apart = self._is_apart(assignment)
            (apart if is_apart else coroutines if assignment.skill.is_async else functions).append(assignment)
        if apart and self._processes is not None:
            self._processes.start(apart, self._ended)
        if coroutines:
            self._loop.start(coroutines)
        if functions:
            self._threads.start(functions)

    def collect(self, wait_seconds: float) -> list[TaskExecution]:
        """Assignments that have their result now; waits for the first of them."""
        self._news.wait(wait_seconds)
        self._news.clear()
        collected = []
        while self._finished:
            collected.append(self._finished.popleft())
        self._in_hand.difference_update(collected)
        for assignment in collected:
            if assignment.stop is None and assignment.result is not None:
                self.usual.took(assignment.skill.name, (assignment.result.duration_ms or 0) / 1000)
        self.reports.forget(assignment.task.task_id for assignment in collected)
        return collected

    def wake(self) -> None:
        """Have a waiting :meth:`collect` return."""
        self._news.set()

    def withdraw(self, within_seconds: float = float("inf")) -> list[TaskExecution]:
        """Take back what has not begun, and what will hardly end *within_seconds*, by what such tasks usually take.

        For when nothing new is taken any more.
        """
        self._moved.pop("intake", None)
        withdrawn = self._threads.withdraw()
        if self._processes is not None:
            withdrawn += self._processes.withdraw(self._ended)
        self._in_hand.difference_update(withdrawn)
        return withdrawn + self._give_up(within_seconds)

    def cancel(self, is_meant: Callable[[TaskExecution], bool]) -> None:
        """Have what *is_meant* end soon: async skills get a CancelledError, sync ones see it by ``cancelled()``."""
        for assignment in list(self._in_hand):
            if assignment.stop is None and assignment.result is None and is_meant(assignment):
                self._stop(assignment, StopReason.UNWANTED)

    def close(self) -> list[TaskExecution]:
        """Give up; answers what was still in hand, whose results nobody will hear of."""
        abandoned = list(self._in_hand)
        self._in_hand.clear()
        self._watch.end()
        self._threads.close()
        self._loop.close()
        if self._processes is not None:
            self._processes.abandon(abandoned)
        return abandoned

    # ------------------------------------------------------------ inside

    def _assignment(self, task: TaskMessage, origin: Any) -> TaskExecution:
        skill = self._skills[task.task_type]
        assignment = TaskExecution(task, skill, self.worker_id, origin, self._storage, self.reports.tell)
        assignment.limit_seconds = skill.time_limit_seconds or self._terms.time_limit_seconds
        if assignment.limit_seconds is not None or task.result_timeout_seconds is not None:
            self._watch.begin()
        if getattr(origin, "deliveries", 1) >= ALONE_FROM:
            assignment.is_alone = True
        return assignment

    def _is_apart(self, assignment: TaskExecution) -> bool:
        """Whether it is for another process."""
        wants = assignment.is_alone or (self._terms.uses_processes and not assignment.skill.is_async)
        return wants and self._processes is not None

    def _stop(self, assignment: TaskExecution, why: StopReason) -> None:
        logger.info("task %s, attempt %d: to stop, %s", assignment.task.task_id, assignment.task.attempt, why)
        assignment.stop, assignment.stopped_at = why, monotonic()
        if self._is_apart(assignment) and self._processes is not None:
            self._processes.stop(assignment)
            self._watch.begin()
        elif assignment.skill.is_async:
            self._loop.cancel(assignment)

    def _give_up(self, within_seconds: float) -> list[TaskExecution]:
        now = monotonic()
        hopeless = []
        for assignment in list(self._in_hand):
            if assignment.result is None and assignment.begun_at is not None:
                left = self.usual.left(assignment.skill.name, now - assignment.begun_at)
                if left is not None and left > within_seconds:
                    task = assignment.task
                    logger.info("task %s, attempt %d: would take another %.0f s", task.task_id, task.attempt, left)
                    hopeless.append(assignment)
        self._in_hand.difference_update(hopeless)  # nobody is to hear of their results
        for assignment in hopeless:
            self._stop(assignment, StopReason.UNWANTED)
        if self._processes is not None:
            self._processes.abandon(hopeless)
        return hopeless

    def _look(self) -> None:
        """Stop what is late, and kill what did not stop."""
        now = monotonic()
        for assignment in list(self._in_hand):
            if assignment.result is not None or assignment.begun_at is None:
                continue
            if assignment.stop is None:
                why = assignment.overdue(now)
                if why is not None:
                    self._stop(assignment, why)
            elif now - assignment.stopped_at > self._terms.kill_after_seconds and self._is_apart(assignment):
                assignment.stopped_at = now
                if self._processes is not None:
                    self._processes.kill(assignment)

    def _ended(self, assignment: TaskExecution) -> None:
        if assignment not in self._in_hand:  # it was given up
            return
        if assignment.result is None:
            assignment.fail(RuntimeError("the task ended without a result"))
        if self._fitness is not None and assignment.result is not None and assignment.result.error:
            self._fitness.note(assignment.task.task_type, assignment.result.error)
        self._finished.append(assignment)
        if not self._news.is_set():  # one call wakes the link for a whole batch
            self._news.set()
        if self._on_end is not None:
            self._on_end()
