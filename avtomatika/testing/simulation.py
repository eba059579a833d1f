"""Simulates the server, an orchestrator, a worker and people for a few jobs, in one thread."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from time import time
from typing import Any

from avtomatika.broker import Delivery, reply_key
from avtomatika.core.blueprint.blueprint import Blueprint
from avtomatika.core.blueprint.data_store import Data
from avtomatika.core.blueprint.job_context import ClientInfo
from avtomatika.core.events import CancelChildren, Decision, Event, Signal, SignalReceived, TaskTimeout
from avtomatika.core.job import HistoryEntry, Job, JobStatus, Json, RecordedEntry, Task, WaitRecord, branch_of
from avtomatika.core.job_request import JobRequest
from avtomatika.core.machine.creation import new_job
from avtomatika.core.machine.signals import check_signal
from avtomatika.core.machine.waits import check_decision
from avtomatika.core.plan import STEPS
from avtomatika.core.rules import Rules
from avtomatika.core.signing import GroupSecret
from avtomatika.core.step import SendEvent, SendTask, SetTimer, Step
from avtomatika.errors import NoRouteError, SkillError
from avtomatika.files.handler_files import files_for
from avtomatika.orchestrator.data_stores import DataStores, MemoryData
from avtomatika.orchestrator.unit_of_work import ClientOf, HandlerServices, ReceivedEvent, Work
from avtomatika.schemas import wire
from avtomatika.store.messages import task_message
from avtomatika.testing.doubles import MemoryBucket
from avtomatika.worker.batch import Batch
from avtomatika.worker.execution import TaskExecution

from .doubles import NEVER_ANSWERS, NEVER_TAKEN, skill
from .run_result import RunResult

#: The sender of results and decisions.
_WORKER_ID = _PERSON = "testing"
#: Signs messages inside a simulation only.
_SECRET = GroupSecret("testing")


@dataclass(slots=True)
class _StoredJob:
    """A job as the server stores it."""

    job: Job
    blueprint: Blueprint
    history: list[RecordedEntry] = field(default_factory=list)
    notes: list[Mapping[str, Json]] = field(default_factory=list)
    answers: dict[str, Json] = field(default_factory=dict)


class Simulation:
    """Jobs of *blueprints*, with everything that takes part in them."""

    def __init__(
        self,
        blueprints: Sequence[Blueprint],
        *,
        skills: Mapping[str, Any],
        approvals: Mapping[str, Any],
        signals: Mapping[str, Any],
        runner: asyncio.Runner,
        rules: Rules,
        client_of: ClientOf = ClientInfo,
        files: Mapping[str, Json] | None = None,
    ) -> None:
        self._blueprints = {blueprint.name: blueprint for blueprint in blueprints}
        self._skills = skills
        self._approvals = approvals
        self._signals = {name: iter(each if isinstance(each, list) else [each]) for name, each in signals.items()}
        self._runner = runner
        self._client_of = client_of
        self._rules = replace(rules, plans={name: each.plan for name, each in self._blueprints.items()})
        self.data: Data = MemoryData()
        self._files = MemoryBucket(files or {})
        self._queues = {str(binding.key): binding.queue for each in blueprints for binding in each.plan.bindings}
        self._events: deque[tuple[str, Event]] = deque()
        self._tasks: deque[Task] = deque()
        self._timers: dict[str, tuple[float, int, SetTimer]] = {}
        self._order = count()
        self._clock_ms = 0.0
        self._began_ms = time() * 1000
        self._jobs: dict[str, _StoredJob] = {}

    def run(self, blueprint: Blueprint, initial_data: Mapping[str, Json]) -> RunResult:
        """Run one job of *blueprint* until nothing is left to do."""
        self._create(new_job(blueprint.plan, JobRequest(initial_data=initial_data), job_id="test-1", client="testing"))
        self._settle()
        return self._ended("test-1")

    def _settle(self) -> None:
        """Process events, tasks and timers until none is left."""
        while True:
            if self._events:
                self._advance(*self._events.popleft())
            elif self._tasks:
                self._perform(self._tasks.popleft())
            elif not self._jump():
                return

    def _ended(self, job_id: str) -> RunResult:
        stored = self._jobs[job_id]
        stores = DataStores(stored.blueprint, self.data, is_async=False)
        parents = {name: each.job.parent for name, each in self._jobs.items()}
        children = tuple(self._ended(name) for name, each in parents.items() if each and each.job_id == job_id)
        return RunResult(stored.job, tuple(stored.history), tuple(stored.notes), stores, children, self._files.values)

    # ------------------------------------------------------------ as the orchestrator

    def _advance(self, queue: str, event: Event) -> None:
        if isinstance(event, CancelChildren):
            self._cancel_children(event)
            return
        stored = self._jobs[event.job_id]
        received = ReceivedEvent(Delivery("memory", queue, b"", {}, 1), event)
        services = HandlerServices(client_of=self._client_of, data=self.data, files_of=partial(files_for, self._files))
        work = Work(
            stored.job, stored.blueprint, [received], rules=self._rules, services=services, answers=stored.answers
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
        stored.notes += [note for _, note in work.ignored]
        if work.answered:
            self._write(stored, work.step)

    # ------------------------------------------------------------ as the server

    def _create(self, step: Step) -> None:
        stored = _StoredJob(step.job, self._blueprints[step.job.blueprint])
        self._jobs[step.job.id] = stored
        self._write(stored, step)

    def _write(self, stored: _StoredJob, step: Step) -> None:
        stored.job = step.job.evolve(version=step.job.version + 1, updated_ms=round(self._clock_ms))
        for entry in step.history:
            self._record(stored, entry)
        stored.answers |= {end.task_id: end.answer for end in step.ended}
        is_joined = step.job.fan_out is not None and len(stored.answers) == step.job.fan_out.size
        if is_joined or (step.ended and step.job.fan_out is not None and step.job.fan_out.is_decided):
            stored.answers = dict(sorted(stored.answers.items(), key=lambda answer: branch_of(answer[0])))
        if step.drops_branches:
            stored.answers.clear()
        for timer_id in step.cancelled_timers:
            self._timers.pop(timer_id, None)
        for timer in step.timers:
            self._arm(timer)
        for child in step.children:
            self._create(child)
        for outgoing in step.outgoing:
            if isinstance(outgoing, SendTask):
                self._tasks.append(outgoing.task)
            elif isinstance(outgoing, SendEvent):
                self._send(outgoing)
        if step.joined is not None and is_joined:
            self._send(step.joined)
        if stored.job.status is JobStatus.WAITING_FOR_HUMAN:
            self._decide(stored)
        elif stored.job.status is JobStatus.WAITING_FOR_SIGNAL:
            self._signal(stored)

    def _cancel_children(self, event: CancelChildren) -> None:
        for number in range(event.first, event.last + 1):
            child = self._jobs.get(f"{event.job_id}-{event.step}-{number}")
            if child is not None and not child.job.status.is_final:
                signal = Signal(child.job.id, "cancel", by=f"job {event.job_id}", token=f"parent:{child.job.id}")
                self._send(SendEvent(child.blueprint.plan.key(str(child.job.current_state), "_signal"), signal))

    def _record(self, stored: _StoredJob, entry: HistoryEntry) -> None:
        stored.history.append(RecordedEntry(len(stored.history) + 1, stored.job.version, round(self._clock_ms), entry))

    def _send(self, sent: SendEvent) -> None:
        if sent.routing_key not in self._queues:
            raise NoRouteError(STEPS, sent.routing_key)
        self._events.append((self._queues[sent.routing_key], wire.load_event(wire.dump_event(sent.event))))

    def _arm(self, timer: SetTimer) -> None:
        due_ms = self._clock_ms + timer.delay_seconds * 1000
        if timer.at_ms is not None:
            due_ms = max(self._clock_ms, timer.at_ms - self._began_ms)
        self._timers[timer.id] = (due_ms, next(self._order), timer)

    def _jump(self) -> bool:
        """Advance the clock to the next timer and fire it; return False if there is none."""
        due_ms, _, timer = min(self._timers.values(), key=lambda entry: entry[:2], default=(0.0, 0, None))
        if timer is None or not self._may_jump(due_ms):
            return False
        self._clock_ms = due_ms
        del self._timers[timer.id]
        self._send(SendEvent(timer.routing_key, timer.event))
        return True

    def _may_jump(self, due_ms: float) -> bool:
        """Return True if the clock may advance to *due_ms* (from its start)."""
        return True

    # ------------------------------------------------------------ as a worker

    def _perform(self, task: Task) -> None:
        stored = self._jobs[task.id.partition(".")[0]]
        if stored.job.tasks.get(task.id) != task:
            return  # the job no longer waits for it
        given = self._given(task)
        if given is NEVER_TAKEN:
            return
        self._take(stored, task)
        if given is NEVER_ANSWERS:
            return
        message = wire.load_task(task_message(stored.job, task, _SECRET).body)
        assignment = TaskExecution(message, skill(task.task_type, given), _WORKER_ID, origin=None)
        call = assignment if assignment.skill.batch is None else Batch([assignment])
        if assignment.skill.is_async:
            self._runner.run(call.run_async())
        else:
            call.run()
        if assignment.result is not None:
            self._send(SendEvent(reply_key(message, assignment.result), assignment.result))

    def _given(self, task: Task) -> Any:
        """Return the replacement for a worker's skill."""
        name = task.task_type
        if name not in self._skills:
            there_are = ", ".join(self._skills) or "none"
            raise SkillError(f"no skill for the task {name!r}: pass it in skills={{...}}; known are {there_are}")
        return self._skills[name]

    def _take(self, stored: _StoredJob, task: Task) -> None:
        self._record(stored, HistoryEntry("task_taken", task.state, task.id, task.attempt, _WORKER_ID))
        self._timers.pop(f"{task.id}:dispatch", None)
        if task.result_timeout_seconds is not None:
            event = TaskTimeout(stored.job.id, task.id, task.attempt, "result")
            key = stored.blueprint.plan.key(task.state, "_timeout")
            self._arm(SetTimer(f"{task.id}:result", task.result_timeout_seconds, key, event))

    # ------------------------------------------------------------ as the people

    def _decide(self, stored: _StoredJob) -> None:
        wait = stored.job.wait
        if wait is None:
            return
        given = self._decision(stored.job, wait)
        if given is not NEVER_TAKEN:
            decision, data = given if isinstance(given, tuple) else (given, None)
            event = Decision(stored.job.id, wait.token, decision, by=_PERSON, data=data)
            self._send(SendEvent(stored.blueprint.plan.key(wait.state, "_approval"), event))

    def _signal(self, stored: _StoredJob) -> None:
        wait = stored.job.wait
        if wait is None or (data := self._signal_data(stored.job, wait)) is NEVER_TAKEN:
            return
        check_signal(wait, data)
        name, token = wait.details["signal"], f"{wait.token}.signal"
        shown = {"id": token, "name": name, "by": _PERSON, "data": data}
        stored.job = stored.job.evolve(signals=(*stored.job.signals, shown))
        self._record(stored, HistoryEntry("signal_received", data=shown))
        self._send(SendEvent(stored.blueprint.plan.key(wait.state, "_signal"), SignalReceived(stored.job.id, token)))

    def _signal_data(self, job: Job, wait: WaitRecord) -> Any:
        """Return the data of the next signal that *job* waits for."""
        return next(self._signals.get(wait.details["signal"], iter(())), NEVER_TAKEN)

    def _decision(self, job: Job, wait: WaitRecord) -> Any:
        """Return a person's decision on the approval of *job*."""
        given = self._approvals.get(wait.state, NEVER_TAKEN)
        given = given(wait.details["message"]) if callable(given) else given
        if isinstance(given, tuple):
            check_decision(wait, *given)
        return given
