"""Replays a recorded job in memory with the current code.

Handlers run; results of workers, decisions, cancelling and retries come from the recorded history. The clock does not
advance beyond the recorded end.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from avtomatika.client.recording import Recording
from avtomatika.core.blueprint.blueprint import Blueprint
from avtomatika.core.blueprint.job_context import ClientInfo
from avtomatika.core.events import Signal, TaskTimeout
from avtomatika.core.job import Job, JobStatus, Task, WaitRecord
from avtomatika.core.job_request import JobRequest, load_request
from avtomatika.core.machine.creation import new_job
from avtomatika.core.rules import Rules
from avtomatika.core.step import SendEvent
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
    recording: Recording, blueprints: Sequence[Blueprint], *, client_of: Callable[[str], ClientInfo] = ClientInfo
) -> RunResult:
    """Replay *recording* with the blueprint of its name. Raise NotFoundError if there is none."""
    by_name = {blueprint.name: blueprint for blueprint in blueprints}
    name = recording.job["blueprint_name"]
    if name not in by_name:
        raise NotFoundError("blueprint", name, known=by_name)
    with asyncio.Runner() as runner:
        simulation = _ReplaySimulation(recording, blueprints, runner=runner, client_of=client_of)
        return simulation.replay(by_name[name])


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
    """A simulation whose external events are recorded ones."""

    def __init__(self, recording: Recording, blueprints: Sequence[Blueprint], **options: Any) -> None:
        super().__init__(blueprints, skills={}, approvals={}, signals={}, rules=Rules(), **options)
        self._recording = recording
        self._began_ms = recording.created_ms
        self._answers: dict[tuple[str, int], Any] = {}
        self._decisions: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        self._taken: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        self._requests: list[tuple[str, Signal]] = []
        for each in recording.all():
            self._read(each)
        self._requests.sort(key=lambda wish: wish[0])

    def replay(self, blueprint: Blueprint) -> RunResult:
        job, created = self._recording.job, self._recording.events[0]["data"] or {}
        step = new_job(
            blueprint.plan, JobRequest(**load_request({**job, **created})), job_id=job["id"], client=job["client"]
        )
        self._create(step)
        self._settle()
        while self._requests:
            self._send_signal(self._requests.pop(0)[1])
            self._settle()
        return self._ended(job["id"])

    def _read(self, recording: Recording) -> None:
        job_id = recording.job["id"]
        for event in recording.events:
            data = event["data"] or {}
            match event["event_type"]:
                case kind if kind in _ANSWERS:
                    answer = {"status": data["outcome"], "data": data.get("data"), "error": data.get("error")}
                    self._answers[event["task_id"], event["attempt"]] = answer
                case "task_timed_out":
                    self._answers[event["task_id"], event["attempt"]] = _TimedOut(data["which"])
                case kind if kind in _DECISIONS:
                    self._decisions[job_id].append({**data, "state": event["state"]})
                case "signal_taken":
                    self._taken[job_id].append({**data, "state": event["state"]})
                case "job_resumed" | "job_cancelled":
                    wish: Literal["retry", "cancel"] = "retry" if event["event_type"] == "job_resumed" else "cancel"
                    signal = Signal(job_id, wish, data.get("by", ""), f"recorded-{event['seq']}")
                    self._requests.append((event["timestamp"], signal))

    def _perform(self, task: Task) -> None:
        """Time tasks out as recorded: the job may have had other limits."""
        given = self._given(task)
        if not isinstance(given, _TimedOut):
            super()._perform(task)
            return
        stored = self._jobs[task.id.partition(".")[0]]
        event = TaskTimeout(stored.job.id, task.id, task.attempt, given.which)
        self._send(SendEvent(stored.blueprint.plan.key(task.state, "_timeout"), event))

    def _given(self, task: Task) -> Any:
        """Return the recorded result; a task without one is never taken."""
        return self._answers.get((task.id, task.attempt), NEVER_TAKEN)

    def _decision(self, job: Job, wait: WaitRecord) -> Any:
        recorded = self._decisions[job.id]
        if not recorded or recorded[0]["state"] != wait.state:
            return NEVER_TAKEN
        decided = recorded.pop(0)
        return decided["decision"], decided.get("data")

    def _signal_data(self, job: Job, wait: WaitRecord) -> Any:
        recorded = self._taken[job.id]
        return recorded.pop(0)["data"] if recorded and recorded[0]["state"] == wait.state else NEVER_TAKEN

    def _may_jump(self, due_ms: float) -> bool:
        return due_ms <= self._recording.duration_ms + _SLACK_MS

    def _send_signal(self, signal: Signal) -> None:
        stored = self._jobs.get(signal.job_id)
        if stored is None or stored.job.status.is_final:
            return  # the job took another path
        if signal.wish == "retry" and stored.job.status is not JobStatus.QUARANTINED:
            return
        self._send(SendEvent(stored.blueprint.plan.key(str(stored.job.current_state), "_signal"), signal))
