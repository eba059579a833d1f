"""Run a blueprint in memory, for tests: the real compiler, machine, handlers and skills, no server, a clock that jumps.

Messages go by the plan's own bindings and as JSON, so what runs here is routed and encoded as it will be. Time passes
only where nothing else is left to do: an hour of back-off takes no time at all.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from avtomatika.broker import Delivery, reply_key
from avtomatika.core import machine
from avtomatika.core.blueprint import Blueprint
from avtomatika.core.data_store import Data
from avtomatika.core.events import Event, TaskTimeout
from avtomatika.core.job import HistoryEntry, Job, JobStatus, Json, RecordedEntry, Task
from avtomatika.core.plan import STEPS
from avtomatika.core.signing import GroupSecret
from avtomatika.core.step import SendEvent, SendTask, SetTimer, Step
from avtomatika.errors import NoRoute, SkillError
from avtomatika.orchestrator.data_stores import DataStores, MemoryData
from avtomatika.orchestrator.work import Arrival, Limits, Surroundings, Work
from avtomatika.schemas import wire
from avtomatika.store.messages import task_message
from avtomatika.worker.assignment import Assignment
from avtomatika.worker.skill import Skill
from avtomatika.worker.worker import Worker


class _Absent:
    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


#: In the place of a skill: no worker ever takes the task. Its ``dispatch_timeout`` passes, if it has one.
NOBODY: Final = _Absent("NOBODY")
#: In the place of a skill: a worker takes the task and never answers. Its ``result_timeout`` passes, if it has one.
SILENCE: Final = _Absent("SILENCE")

#: Whom results come from here.
_WORKER_ID = "testing"
#: Nobody else sees the messages that it signs.
_SECRET = GroupSecret("testing")


@dataclass(frozen=True, slots=True)
class EndedJob:
    """A job that has come to its end, or to rest: quarantined, or waiting for what never comes.

    ``history`` has times in milliseconds since the job began; ``notes`` are the events that were ignored;
    ``data_stores`` are those of its blueprint as it left them.
    """

    job: Job
    history: tuple[RecordedEntry, ...]
    notes: tuple[Mapping[str, Json], ...]
    data_stores: DataStores = field(repr=False)

    @property
    def status(self) -> JobStatus:
        return self.job.status

    @property
    def result(self) -> Json:
        return self.job.result

    @property
    def error(self) -> Mapping[str, Json] | None:
        return self.job.error

    @property
    def state_history(self) -> Mapping[str, Json]:
        return self.job.state_history

    @property
    def states(self) -> tuple[str, ...]:
        """The states that it entered, in order."""
        entries = (recorded.entry for recorded in self.history)
        return tuple(str(entry.state) for entry in entries if entry.event_type == "state_entered")

    @property
    def seconds(self) -> float:
        """How long it took by its own clock."""
        return self.history[-1].timestamp_ms / 1000


def run(
    blueprint: Blueprint,
    initial_data: Mapping[str, Json] | None = None,
    *,
    skills: Mapping[str, Any] | Worker | None = None,
    max_transitions: int = machine.MAX_TRANSITIONS,
    max_retries: int = machine.MAX_RETRIES,
    after: EndedJob | None = None,
) -> EndedJob:
    """Run one job of *blueprint* to its end.

    *skills* is a Worker, or maps task types to what does them: a function as ``@worker.skill`` takes it, an exception
    to raise, :data:`NOBODY`, :data:`SILENCE`, or anything else, which is the result. *after* is a job that ran before:
    its data stores are found as it left them. Raises BlueprintError where the blueprint does not compile, SkillError
    for a task that nothing is given for.

    >>> bp = Blueprint(name="double")
    >>> @bp.handler(is_start=True, may_go_to=["end"])
    ... def start(initial_data, actions):
    ...     actions.dispatch_task("twice", initial_data, transitions={"success": "end"})
    >>> @bp.handler(is_end=True)
    ... def end(number):
    ...     return number
    >>> run(bp, {"number": 21}, skills={"twice": lambda params: {"number": 2 * params["number"]}}).result
    42
    """
    given = skills.skills if isinstance(skills, Worker) else dict(skills or {})
    with asyncio.Runner() as runner:
        course = _Course(blueprint, given, runner=runner, limits=Limits(max_transitions, max_retries))
        if after is not None:
            course.data = after.data_stores.data
        return course.run(dict(initial_data or {}))


class _Course:
    """The course of one job: what the server, the orchestrator and a worker would hold of it."""

    def __init__(
        self, blueprint: Blueprint, skills: Mapping[str, Any], *, runner: asyncio.Runner, limits: Limits
    ) -> None:
        self._blueprint = blueprint
        self._skills = skills
        self._runner = runner
        self._limits = limits
        self.data: Data = MemoryData()
        self._queues = {str(binding.key): binding.queue for binding in blueprint.plan.bindings}
        self._events: deque[tuple[str, Event]] = deque()
        self._tasks: deque[Task] = deque()
        self._timers: dict[str, tuple[float, int, SetTimer]] = {}
        self._order = count()
        self._clock_ms = 0.0
        self._history: list[RecordedEntry] = []
        self._notes: list[Mapping[str, Json]] = []
        self._job: Job

    def run(self, initial_data: dict[str, Json]) -> EndedJob:
        self._write(machine.new_job(self._blueprint.plan, job_id="test-1", client="testing", initial_data=initial_data))
        while self._events or self._tasks or self._timers:
            if self._events:
                self._advance(*self._events.popleft())
            elif self._tasks:
                self._perform(self._tasks.popleft())
            else:
                self._jump()
        stores = DataStores(self._blueprint, self.data, is_async=False)
        return EndedJob(self._job, tuple(self._history), tuple(self._notes), stores)

    # ------------------------------------------------------------ as the orchestrator

    def _advance(self, queue: str, event: Event) -> None:
        arrival = Arrival(Delivery("memory", queue, b"", {}, 1), event)
        work = Work(
            self._job, self._blueprint, [arrival], limits=self._limits, surroundings=Surroundings(data=self.data)
        )
        while (function := work.advance()) is not None:
            try:
                returned = function()
                if work.is_async:
                    returned = self._runner.run(returned)
            except Exception as error:
                work.decided(None, error)
            else:
                work.decided(returned, None)
        self._notes += [note for _, note in work.ignored]
        if work.answered:
            self._write(work.step)

    # ------------------------------------------------------------ as the server

    def _write(self, step: Step) -> None:
        self._job = step.job.evolve(version=step.job.version + 1, updated_ms=round(self._clock_ms))
        for entry in step.history:
            self._record(entry)
        for timer_id in step.cancelled_timers:
            self._timers.pop(timer_id, None)
        for timer in step.timers:
            self._arm(timer)
        for outgoing in step.outgoing:
            if isinstance(outgoing, SendTask):
                self._tasks.append(outgoing.task)
            elif isinstance(outgoing, SendEvent):
                self._send(outgoing.routing_key, outgoing.event)

    def _record(self, entry: HistoryEntry) -> None:
        self._history.append(RecordedEntry(len(self._history) + 1, self._job.version, round(self._clock_ms), entry))

    def _send(self, routing_key: str, event: Event) -> None:
        if routing_key not in self._queues:
            raise NoRoute(STEPS, routing_key)
        self._events.append((self._queues[routing_key], wire.load_event(wire.dump_event(event))))

    def _arm(self, timer: SetTimer) -> None:
        self._timers[timer.id] = (self._clock_ms + timer.delay_seconds * 1000, next(self._order), timer)

    def _jump(self) -> None:
        """Nothing is left to do but to wait: to the next timer."""
        self._clock_ms, _, timer = min(self._timers.values(), key=lambda entry: entry[:2])
        del self._timers[timer.id]
        self._send(timer.routing_key, timer.event)

    # ------------------------------------------------------------ as a worker

    def _perform(self, task: Task) -> None:
        if self._job.tasks.get(task.id) != task:
            return  # the job has gone on without it
        given = self._given(task.task_type)
        if given is NOBODY:
            return
        self._take(task)
        if given is SILENCE:
            return
        message = wire.load_task(task_message(self._job, task, _SECRET).body)
        assignment = Assignment(message, _skill(task.task_type, given), _WORKER_ID, origin=None)
        if assignment.skill.is_async:
            self._runner.run(assignment.perform_async())
        else:
            assignment.perform()
        if assignment.result is not None:
            self._send(reply_key(message, assignment.result), assignment.result)

    def _given(self, task_type: str) -> Any:
        if task_type not in self._skills:
            there_are = ", ".join(self._skills) or "none"
            raise SkillError(f"nothing does the task {task_type!r}: give it in skills={{...}}; there are {there_are}")
        return self._skills[task_type]

    def _take(self, task: Task) -> None:
        self._record(HistoryEntry("task_taken", task.state, task.id, task.attempt, _WORKER_ID))
        self._timers.pop(f"{task.id}:dispatch", None)
        if task.result_timeout_seconds is not None:
            event = TaskTimeout(self._job.id, task.id, task.attempt, "result")
            key = self._blueprint.plan.key(task.state, "_timeout")
            self._arm(SetTimer(f"{task.id}:result", task.result_timeout_seconds, key, event))


def _skill(name: str, given: Any) -> Skill:
    if isinstance(given, Skill):
        return given
    if isinstance(given, BaseException) or (isinstance(given, type) and issubclass(given, BaseException)):
        return Skill.of(lambda: _raise(given), name)
    return Skill.of(given if callable(given) else lambda: given, name)


def _raise(error: BaseException | type[BaseException]) -> None:
    raise error
