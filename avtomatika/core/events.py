"""Events: everything that can happen to a job. The id of an event identifies redeliveries."""

from collections.abc import Mapping
from dataclasses import field
from typing import ClassVar, Literal

from .frozen import dataclass
from .job import Json
from .placement.selection import Candidate, NoCandidate


@dataclass(frozen=True, slots=True)
class JobEvent:
    """An event of one job; *ID* is the format of its id."""

    ID: ClassVar[str] = ""

    job_id: str

    @property
    def id(self) -> str:
        return self.ID.format(self)


@dataclass(frozen=True, slots=True)
class Start(JobEvent):
    """Start a job. Sent once, at its creation."""

    ID = "start:{0.job_id}"


@dataclass(frozen=True, slots=True)
class Enter(JobEvent):
    """Continue a job in a state of another queue; *transition* is the number of states entered before."""

    ID = "enter:{0.job_id}:{0.transition}"
    state: str
    transition: int


@dataclass(frozen=True, slots=True)
class Result(JobEvent):
    """The result of a task. *status* is ``success``, ``failure``, ``cancelled`` or an outcome of the user."""

    ID = "result:{0.task_id}:{0.attempt}"
    task_id: str
    attempt: int
    status: str
    data: Json = None
    error: Mapping[str, Json] | None = None
    worker_id: str | None = None
    duration_ms: int | None = None


@dataclass(frozen=True, slots=True)
class RetryTask(JobEvent):
    """The back-off of a failed task is over; start *attempt*."""

    ID = "retry:{0.task_id}:{0.attempt}"
    task_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class PlaceTask(JobEvent):
    """Check the placement of a task with requirements; *visit* counts the checks, *waited* those since it was routed.
    The receiver sets *choice*; it is never sent."""

    ID = "place:{0.task_id}:{0.attempt}:{0.visit}"
    task_id: str
    attempt: int
    visit: int = 0
    waited: int = 0
    choice: Candidate | NoCandidate | None = None


@dataclass(frozen=True, slots=True)
class TaskTimeout(JobEvent):
    """No worker took the task in time (``dispatch``), or its result is late (``result``)."""

    ID = "timeout:{0.task_id}:{0.attempt}:{0.which}"
    task_id: str
    attempt: int
    which: Literal["dispatch", "result"]


@dataclass(frozen=True, slots=True)
class RetryHandler(JobEvent):
    """The back-off of a failed handler is over; *failures* counts its failures in this state."""

    ID = "handler:{0.job_id}:{0.transition}:{0.failures}"
    state: str
    transition: int
    failures: int


@dataclass(frozen=True, slots=True)
class DeadlineExceeded(JobEvent):
    """The execution timeout of the job has expired."""

    ID = "deadline:{0.job_id}"


@dataclass(frozen=True, slots=True)
class DeadLetter(JobEvent):
    """A message of this job was dead-lettered after too many deliveries; *task_id* is None for a step message.

    *is_refused* if the message was a result whose sender was not authorized.
    """

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
class Joined(JobEvent):
    """All branches of the fan-out of *step* have ended. Sent once, by the commit that stored the last one."""

    ID = "joined:{0.job_id}.{0.step}"
    step: int


@dataclass(frozen=True, slots=True)
class NextBranches(JobEvent):
    """Publish more branches of a fan-out that is too large for one commit; *sent* have been published."""

    ID = "branches:{0.job_id}.{0.step}.{0.sent}"
    step: int
    sent: int


@dataclass(frozen=True, slots=True)
class CancelChildren(JobEvent):
    """Cancel the child jobs among the branches *first* to *last* of the fan-out of *step*, which the job has left."""

    ID = "cancel:{0.job_id}.{0.step}.{0.first}"
    step: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class TimeReached(JobEvent):
    """The timer of the wait *token* has expired."""

    ID = "time:{0.token}"
    token: str


@dataclass(frozen=True, slots=True)
class Decision(JobEvent):
    """A person's decision on the approval *token*; *by* is that person."""

    ID = "decision:{0.token}"
    token: str
    decision: str
    by: str
    comment: str | None = None
    data: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class SignalReceived(JobEvent):
    """A signal for ``wait_for`` was stored with the job; *token* identifies it."""

    ID = "received:{0.token}"
    token: str


@dataclass(frozen=True, slots=True)
class ChildEnded(JobEvent):
    """The child job *child_id* has ended with *status*: ``finished``, ``failed``, ``cancelled`` or ``error``."""

    ID = "child:{0.child_id}"
    child_id: str
    status: str
    result: Json = None
    error: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class ChildQuarantined(JobEvent):
    """The child job *child_id* was quarantined with *error*; *number* distinguishes several times."""

    ID = "quarantined:{0.child_id}:{0.number}"
    child_id: str
    number: int
    error: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Signal(JobEvent):
    """A request to cancel or retry the job; *token* identifies the request.

    ``expire``: a quarantined job was not handled in time; the *token* is then that of one version of the job.
    """

    ID = "signal:{0.token}"
    wish: Literal["cancel", "retry", "expire"]
    by: str
    token: str


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
    | CancelChildren
    | TimeReached
    | Decision
    | SignalReceived
    | ChildEnded
    | ChildQuarantined
    | DeadLetter
    | Signal
)
