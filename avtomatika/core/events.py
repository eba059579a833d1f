"""What can happen to a job: the events that the machine knows. By its id the second coming of an event is seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .job import Json
from .placement.selection import Candidate, NoCandidate


@dataclass(frozen=True, slots=True)
class Start:
    """A job begins. Sent once, by whoever created it."""

    job_id: str

    @property
    def id(self) -> str:
        return f"start:{self.job_id}"


@dataclass(frozen=True, slots=True)
class Enter:
    """A job goes on in a state that lives in another queue; *transition* is the count of states entered before it."""

    job_id: str
    state: str
    transition: int

    @property
    def id(self) -> str:
        return f"enter:{self.job_id}:{self.transition}"


@dataclass(frozen=True, slots=True)
class Result:
    """A worker's answer. *status* is ``success``, ``failure``, ``cancelled`` or an outcome of the user's own."""

    job_id: str
    task_id: str
    attempt: int
    status: str
    data: Json = None
    error: Mapping[str, Json] | None = None
    worker_id: str | None = None
    duration_ms: int | None = None

    @property
    def id(self) -> str:
        return f"result:{self.task_id}:{self.attempt}"


@dataclass(frozen=True, slots=True)
class RetryTask:
    """The back-off of a failed task is over; *attempt* is the one to be started now."""

    job_id: str
    task_id: str
    attempt: int

    @property
    def id(self) -> str:
        return f"retry:{self.task_id}:{self.attempt}"


@dataclass(frozen=True, slots=True)
class PlaceTask:
    """A task that asks something of its worker is to be looked at: *visit* counts how often it was, *waited* how often
    since it was routed. *choice* is made by whoever brings the event, and never sent."""

    job_id: str
    task_id: str
    attempt: int
    visit: int = 0
    waited: int = 0
    choice: Candidate | NoCandidate | None = None

    @property
    def id(self) -> str:
        return f"place:{self.task_id}:{self.attempt}:{self.visit}"


@dataclass(frozen=True, slots=True)
class TaskTimeout:
    """Nobody took the task in time (``dispatch``), or it took too long (``result``)."""

    job_id: str
    task_id: str
    attempt: int
    which: Literal["dispatch", "result"]

    @property
    def id(self) -> str:
        return f"timeout:{self.task_id}:{self.attempt}:{self.which}"


@dataclass(frozen=True, slots=True)
class RetryHandler:
    """The back-off of a handler that raised is over; *failures* is how often it has raised in this state."""

    job_id: str
    state: str
    transition: int
    failures: int

    @property
    def id(self) -> str:
        return f"handler:{self.job_id}:{self.transition}:{self.failures}"


@dataclass(frozen=True, slots=True)
class DeadlineExceeded:
    """The job as a whole has taken longer than it may."""

    job_id: str

    @property
    def id(self) -> str:
        return f"deadline:{self.job_id}"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message of this job was given up after too many deliveries; *task_id* is None where it was a step.

    *is_refused*: it was the answer to the task, by somebody who may not give it.
    """

    job_id: str
    reason: str
    state: str
    task_id: str | None = None
    attempt: int | None = None
    details: Mapping[str, Json] = field(default_factory=dict)
    is_refused: bool = False

    @property
    def id(self) -> str:
        return f"dead:{self.task_id or self.job_id}:{self.attempt or self.state}"


@dataclass(frozen=True, slots=True)
class Joined:
    """All branches of the fan-out of *step* have ended. Sent once, by whoever ended the last one."""

    job_id: str
    step: int

    @property
    def id(self) -> str:
        return f"joined:{self.job_id}.{self.step}"


@dataclass(frozen=True, slots=True)
class NextBranches:
    """A fan-out too large for one commit goes on: *sent* of its branches have been published."""

    job_id: str
    step: int
    sent: int

    @property
    def id(self) -> str:
        return f"branches:{self.job_id}.{self.step}.{self.sent}"


@dataclass(frozen=True, slots=True)
class TimeReached:
    """The time has come that the pause *token* waits for, at the latest."""

    job_id: str
    token: str

    @property
    def id(self) -> str:
        return f"time:{self.token}"


@dataclass(frozen=True, slots=True)
class Decision:
    """A person's answer to the approval *token*; *by* is who gave it."""

    job_id: str
    token: str
    decision: str
    by: str
    comment: str | None = None

    @property
    def id(self) -> str:
        return f"decision:{self.token}"


@dataclass(frozen=True, slots=True)
class ChildEnded:
    """The job *child_id* that this one waits for is over, with *status*."""

    job_id: str
    child_id: str
    status: Literal["finished", "failed", "cancelled", "error"]
    result: Json = None
    error: Mapping[str, Json] | None = None

    @property
    def id(self) -> str:
        return f"child:{self.child_id}"


@dataclass(frozen=True, slots=True)
class ChildQuarantined:
    """The job *child_id* that this one waits for is quarantined by *error*; *number* tells one time from another."""

    job_id: str
    child_id: str
    number: int
    error: Mapping[str, Json]

    @property
    def id(self) -> str:
        return f"quarantined:{self.child_id}:{self.number}"


@dataclass(frozen=True, slots=True)
class Signal:
    """Somebody wants the job cancelled, or a quarantined one to go on; *token* tells one wish from another.

    ``expire``: nobody wanted anything for too long; the *token* is then that of one version of the job.
    """

    job_id: str
    wish: Literal["cancel", "retry", "expire"]
    by: str
    token: str

    @property
    def id(self) -> str:
        return f"signal:{self.token}"


Event = (
    Start
    | Enter
    | Result
    | RetryTask
    | PlaceTask
    | TaskTimeout
    | RetryHandler
    | DeadlineExceeded
    | Joined
    | NextBranches
    | TimeReached
    | Decision
    | ChildEnded
    | ChildQuarantined
    | DeadLetter
    | Signal
)
