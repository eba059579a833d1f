"""Events: everything that can happen to a job. The id of an event identifies redeliveries."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .job import Json
from .placement.selection import Candidate, NoCandidate


@dataclass(frozen=True, slots=True)
class Start:
    """Start a job. Sent once, at its creation."""

    job_id: str

    @property
    def id(self) -> str:
        return f"start:{self.job_id}"


@dataclass(frozen=True, slots=True)
class Enter:
    """Continue a job in a state of another queue; *transition* is the number of states entered before."""

    job_id: str
    state: str
    transition: int

    @property
    def id(self) -> str:
        return f"enter:{self.job_id}:{self.transition}"


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a task. *status* is ``success``, ``failure``, ``cancelled`` or an outcome of the user."""

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
    """The back-off of a failed task is over; start *attempt*."""

    job_id: str
    task_id: str
    attempt: int

    @property
    def id(self) -> str:
        return f"retry:{self.task_id}:{self.attempt}"


@dataclass(frozen=True, slots=True)
class PlaceTask:
    """Check the placement of a task with requirements; *visit* counts the checks, *waited* those since it was routed.
    The receiver sets *choice*; it is never sent."""

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
    """No worker took the task in time (``dispatch``), or its result is late (``result``)."""

    job_id: str
    task_id: str
    attempt: int
    which: Literal["dispatch", "result"]

    @property
    def id(self) -> str:
        return f"timeout:{self.task_id}:{self.attempt}:{self.which}"


@dataclass(frozen=True, slots=True)
class RetryHandler:
    """The back-off of a failed handler is over; *failures* counts its failures in this state."""

    job_id: str
    state: str
    transition: int
    failures: int

    @property
    def id(self) -> str:
        return f"handler:{self.job_id}:{self.transition}:{self.failures}"


@dataclass(frozen=True, slots=True)
class DeadlineExceeded:
    """The execution timeout of the job has expired."""

    job_id: str

    @property
    def id(self) -> str:
        return f"deadline:{self.job_id}"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message of this job was dead-lettered after too many deliveries; *task_id* is None for a step message.

    *is_refused* if the message was a result whose sender was not authorized.
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
    """All branches of the fan-out of *step* have ended. Sent once, by the commit that stored the last one."""

    job_id: str
    step: int

    @property
    def id(self) -> str:
        return f"joined:{self.job_id}.{self.step}"


@dataclass(frozen=True, slots=True)
class NextBranches:
    """Publish more branches of a fan-out that is too large for one commit; *sent* have been published."""

    job_id: str
    step: int
    sent: int

    @property
    def id(self) -> str:
        return f"branches:{self.job_id}.{self.step}.{self.sent}"


@dataclass(frozen=True, slots=True)
class TimeReached:
    """The timer of the wait *token* has expired."""

    job_id: str
    token: str

    @property
    def id(self) -> str:
        return f"time:{self.token}"


@dataclass(frozen=True, slots=True)
class Decision:
    """A person's decision on the approval *token*; *by* is that person."""

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
    """The child job *child_id* has ended with *status*."""

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
    """The child job *child_id* was quarantined with *error*; *number* distinguishes several times."""

    job_id: str
    child_id: str
    number: int
    error: Mapping[str, Json]

    @property
    def id(self) -> str:
        return f"quarantined:{self.child_id}:{self.number}"


@dataclass(frozen=True, slots=True)
class Signal:
    """A request to cancel or retry the job; *token* identifies the request.

    ``expire``: a quarantined job was not handled in time; the *token* is then that of one version of the job.
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
