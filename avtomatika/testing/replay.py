"""Replays a recorded job in memory with the current code.

Handlers run; results of workers, decisions, cancelling and retries come from the recorded history. The clock does not
advance beyond the recorded end.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Literal

from avtomatika.client.recording import Recording
from avtomatika.core.blueprint.blueprint import Blueprint
from avtomatika.core.blueprint.job_context import ClientInfo
from avtomatika.core.events import Signal, TaskTimeout
from avtomatika.core.job import HistoryEntry, Job, JobStatus, Json, RecordedEntry, Task, WaitRecord, branch_of, job_of
from avtomatika.core.job_request import JobRequest, load_request
from avtomatika.core.machine.creation import new_job
from avtomatika.core.machine.rerun import START, StartPoint, divided, start_point
from avtomatika.core.plan import Plan
from avtomatika.core.rules import Rules
from avtomatika.core.step import SendEvent, Step
from avtomatika.errors import NotFoundError

from .doubles import NEVER_TAKEN
from .run_result import RunResult
from .simulation import Simulation

#: Events from outside.
_ANSWERS = ("task_succeeded", "task_failed", "branch_finished")
_DECISIONS = ("approved", "rejected", "decided")
#: The clock may exceed the recorded end by this time.
_SLACK_MS = 1000
#: Entries with decisions of the blueprint, and the data that is compared.
_STEPS: Mapping[str, tuple[str, ...]] = {
    "job_created": (),
    "state_entered": ("go_to",),
    "handler_failed": (),
    "task_dispatched": ("task_type",),
    "task_retried": ("attempt",),
    "branches_joined": ("branches", "failed", "error", "go_to"),
    "approval_requested": ("message",),
    "signal_awaited": ("signal",),
    "timer_set": ("seconds", "until_ms", "then"),
    "child_started": ("blueprint",),
    "child_finished": ("status",),
    "job_quarantined": ("reason",),
    "job_resumed": (),
    "job_finished": ("result",),
    "job_failed": ("result", "error"),
    "job_cancelled": (),
    "job_error": ("error",),
}


def replay(
    recording: Recording,
    blueprints: Sequence[Blueprint],
    *,
    client_of: Callable[[str], ClientInfo] = ClientInfo,
    at: str | int | None = None,
    changes: Mapping[str, Json] | None = None,
) -> RunResult:
    """Replay *recording* with the blueprint of its name, or rehearse a job that continues it *at* a point (see
    ``start_point``) with *changes* of its data: then only successes count, and what has none is waited for.

    Raises NotFoundError if there is no such blueprint, ConflictError if it cannot start there.
    """
    by_name = {blueprint.name: blueprint for blueprint in blueprints}
    name = recording.job["blueprint_name"]
    if name not in by_name:
        raise NotFoundError("blueprint", name, known=by_name)
    point = _point(recording, by_name[name].plan, at)
    with asyncio.Runner() as runner:
        simulation = _ReplaySimulation(
            recording, blueprints, runner=runner, client_of=client_of, after=None if at is None else point.seq
        )
        return simulation.replay(by_name[name], point, changes or {})


def _point(recording: Recording, plan: Plan, at: str | int | None) -> StartPoint:
    entries = recorded(recording)
    if at is None:
        point = StartPoint.of(entries[0].entry)
        return point if entries[0].entry.state in plan.states else replace(point, state=plan.start)
    if at == START:
        return StartPoint(plan.start)
    known = {name: recording.job[name] for name in ("id", "current_state", "state_history")}
    job = Job(blueprint=plan.blueprint, plan_hash=recording.job["plan"], **known)
    return start_point(plan, job, entries, at)


def recorded(recording: Recording) -> list[RecordedEntry]:
    """Return the recorded history, with times since the creation of the job."""
    found = []
    for event in recording.events:
        known: dict[str, Any] = {each.name: event.get(each.name) for each in fields(HistoryEntry)}
        at_ms = datetime.fromisoformat(event["timestamp"]).timestamp() * 1000 - recording.created_ms
        found.append(RecordedEntry(event["seq"], event.get("version", 0), round(at_ms), HistoryEntry(**known)))
    return found


def recorded_path(recording: Recording) -> tuple[str, ...]:
    """Return the states, tasks and waits of the recorded job, in order, and its end."""
    return _path((each["event_type"], each["state"], each["data"]) for each in recording.events)


def replayed_path(ended: RunResult) -> tuple[str, ...]:
    """Return the same of a replay; of one that did not end, what it waits for is last."""
    return _path((each.entry.event_type, each.entry.state, each.entry.data) for each in ended.history)


def _path(entries: Iterable[tuple[str, str | None, Mapping[str, Any] | None]]) -> tuple[str, ...]:
    found: list[str] = []
    for event_type, state, data in entries:
        facts = data or {}
        match event_type:
            case "state_entered":
                found.append(str(state))
            case "task_dispatched" if found[-1:] != [f"task {facts['task_type']}"]:  # neither attempts nor branches
                found.append(f"task {facts['task_type']}")
            case "child_started":
                found.append(f"job of {facts['blueprint']}")
            case "approval_requested":
                found.append("approval")
            case "job_finished" | "job_failed" | "job_cancelled" | "job_error" | "job_quarantined":
                problem = facts.get("error")
                code = f" ({problem.get('code')})" if isinstance(problem, Mapping) else ""
                found.append(f"{event_type.removeprefix('job_')}{code}")
    return tuple(found)


def recorded_steps(recording: Recording) -> list[str]:
    """Return the recorded decisions of the blueprint as comparable lines."""
    events = recording.events
    return [_line(each["event_type"], each["state"], each["data"]) for each in events if each["event_type"] in _STEPS]


def replayed_steps(ended: RunResult) -> list[str]:
    """Return the decisions of the replay as comparable lines."""
    entries = [recorded.entry for recorded in ended.history]
    return [_line(each.event_type, each.state, each.data) for each in entries if each.event_type in _STEPS]


def _line(event_type: str, state: str | None, data: Mapping[str, Any] | None) -> str:
    told = {name: value for name in _STEPS[event_type] if (value := (data or {}).get(name)) is not None}
    if isinstance(told.get("error"), Mapping):
        told["error"] = told["error"].get("code")
    details = ", ".join(f"{name} {value if isinstance(value, str) else repr(value)}" for name, value in told.items())
    return f"{event_type:20} {state or ''}{'  ' if details else ''}{details}"


@dataclass(frozen=True, slots=True)
class _TimedOut:
    """A task was not taken, or not finished, in time."""

    which: Literal["dispatch", "result"]


class _ReplaySimulation(Simulation):
    """A simulation whose external events are recorded ones, those *after* an entry of the history."""

    def __init__(
        self, recording: Recording, blueprints: Sequence[Blueprint], *, after: int | None, **options: Any
    ) -> None:
        super().__init__(blueprints, skills={}, approvals={}, signals={}, rules=Rules(), **options)
        self._recording = recording
        self._is_restart = after is not None
        self._began_ms = recording.created_ms
        #: Results by job, task type and branch, each with its state.
        self._answers: dict[tuple[str, str, int], list[tuple[str | None, Any]]] = defaultdict(list)
        self._decisions: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        self._taken: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        self._requests: list[tuple[str, Signal]] = []
        #: Recorded child jobs that have not started yet, and the recorded ids of those that have.
        self._children = [each.job for each in recording.all()][1:]
        self._recorded_ids: dict[str, str] = {}
        #: True once something is waited for that was not recorded.
        self._is_stuck = False
        for each in recording.all():
            self._read(each, (after or 0) if each is recording else 0)
        self._requests.sort(key=lambda wish: wish[0])

    def replay(self, blueprint: Blueprint, point: StartPoint, changes: Mapping[str, Json]) -> RunResult:
        """Replay the job from *point* on; *changes* are keys of ``initial_data`` or, if it lacks them, of its data."""
        job, created = self._recording.job, self._recording.events[0]["data"] or {}
        request = JobRequest(**load_request({**job, **created}))
        own, more = divided(changes, request.initial_data, point.state_history)
        request = replace(request, initial_data={**request.initial_data, **own})
        point = replace(point, state_history={**point.state_history, **more})
        self._create(new_job(blueprint.plan, request, job_id=job["id"], client=job["client"], point=point))
        self._settle()
        while self._requests:
            self._send_signal(self._requests.pop(0)[1])
            self._settle()
        return self._ended(job["id"])

    def _read(self, recording: Recording, after: int) -> None:
        job_id, types = recording.job["id"], dict[str, str]()
        for event in recording.events:
            data, kind, task_id = event["data"] or {}, event["event_type"], event["task_id"]
            if kind == "task_dispatched":
                types[task_id] = data["task_type"]
            if event["seq"] <= after:
                continue
            answer: Any = None
            if kind in _ANSWERS:
                answer = {"status": data["outcome"], "data": data.get("data"), "error": data.get("error")}
            elif kind == "task_timed_out":
                answer = _TimedOut(data["which"])
            elif kind in _DECISIONS:
                self._decisions[job_id].append({**data, "state": event["state"]})
            elif kind == "signal_taken":
                self._taken[job_id].append({**data, "state": event["state"]})
            elif kind in ("job_resumed", "job_cancelled") and not self._is_restart:
                wish: Literal["retry", "cancel"] = "retry" if kind == "job_resumed" else "cancel"
                signal = Signal(job_id, wish, data.get("by", ""), f"recorded-{event['seq']}")
                self._requests.append((event["timestamp"], signal))
            if answer is not None and not (self._is_restart and ("error" in data or kind == "task_timed_out")):
                key = job_id, types.get(task_id, ""), branch_of(task_id)
                self._answers[key].append((event["state"], answer))

    def _create(self, step: Step) -> None:
        recorded = next((each for each in self._children if each["blueprint_name"] == step.job.blueprint), None)
        if step.job.parent is not None and recorded is not None:
            self._children.remove(recorded)
            self._recorded_ids[step.job.id] = recorded["id"]
        super()._create(step)

    def _perform(self, task: Task) -> None:
        """Time tasks out as recorded: the job may have had other limits."""
        stored = self._jobs[job_of(task.id)]
        if stored.job.tasks.get(task.id) != task:
            return
        given = self._take_answer(task)
        if given is NEVER_TAKEN:
            self._is_stuck = True
            self._timers.pop(f"{task.id}:dispatch", None)
        elif isinstance(given, _TimedOut):
            event = TaskTimeout(stored.job.id, task.id, task.attempt, given.which)
            self._send(SendEvent(stored.blueprint.plan.key(task.state, "_timeout"), event))
        else:
            self._skills = {task.task_type: given}
            super()._perform(task)

    def _take_answer(self, task: Task) -> Any:
        """Return the next recorded result, preferably of the same state; a task without one is never taken."""
        job_id = job_of(task.id)
        found = self._answers[self._recorded_ids.get(job_id, job_id), task.task_type, task.branch]
        if not found:
            return NEVER_TAKEN
        return found.pop(next((place for place, (state, _) in enumerate(found) if state == task.state), 0))[1]

    def _decision(self, job: Job, wait: WaitRecord) -> Any:
        recorded = self._decisions[self._recorded_ids.get(job.id, job.id)]
        if not recorded or recorded[0]["state"] != wait.state:
            self._is_stuck = True
            return NEVER_TAKEN
        decided = recorded.pop(0)
        return decided["decision"], decided.get("data")

    def _signal_data(self, job: Job, wait: WaitRecord) -> Any:
        recorded = self._taken[self._recorded_ids.get(job.id, job.id)]
        if recorded and recorded[0]["state"] == wait.state:
            return recorded.pop(0)["data"]
        self._is_stuck = True
        return NEVER_TAKEN

    def _may_jump(self, due_ms: float) -> bool:
        return not self._is_stuck if self._is_restart else due_ms <= self._recording.duration_ms + _SLACK_MS

    def _send_signal(self, signal: Signal) -> None:
        stored = self._jobs.get(signal.job_id)
        if stored is None or stored.job.status.is_final:
            return  # the job took another path
        if signal.wish == "retry" and stored.job.status is not JobStatus.QUARANTINED:
            return
        self._send(SendEvent(stored.blueprint.plan.key(str(stored.job.current_state), "_signal"), signal))
