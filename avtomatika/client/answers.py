"""The answers of the HTTP API as types: dicts with these keys. Times are RFC 3339 in UTC."""

from typing import Any, TypedDict, final


@final
class SubmittedJob(TypedDict):
    """A created job."""

    status: str
    job_id: str


class SubmittedJobs(TypedDict):
    """Jobs created together, in the order of the request."""

    status: str
    job_ids: list[str]


class JobSummary(TypedDict):
    """A job in a list, without its data."""

    id: str
    status: str
    blueprint_name: str
    skill: str | None
    plan: str
    current_state: str | None
    error: dict[str, Any] | None
    client: str
    retry_of: str | None
    parent_id: str | None
    priority: int
    labels: dict[str, str]
    version: int
    created_at: str
    updated_at: str


class JobCounts(TypedDict):
    """Numbers of jobs by status. If not ``is_exact``, there are more than these."""

    counts: dict[str, int]
    total: int
    is_exact: bool


class ActionRefusal(TypedDict):
    """A job that an action was not applied to."""

    job_id: str
    code: str
    reason: str


class ActionResult(TypedDict):
    """The effect of an action on a part of the jobs; ``blueprints`` are the numbers of jobs by blueprint."""

    matched: int
    blueprints: dict[str, int]
    is_exact: bool
    done: int
    refused: int
    refusals: list[ActionRefusal]
    next: str | None


class JobTask(TypedDict):
    """An open task of a job."""

    id: str
    task_type: str
    state: str
    attempt: int
    worker_id: str | None
    routed_to: str | None
    waits_for: str | None
    progress: float | None
    progress_message: str | None


class JobWait(TypedDict):
    """The timer, approval or child job that a job waits for."""

    kind: str
    since: str
    until: str | None
    integration: str | None
    message: str | None
    decisions: list[str] | None
    child_id: str | None


class FanOutProgress(TypedDict):
    """The number of branches of a fan-out: all, dispatched, unfinished."""

    total: int
    sent: int
    left: int


@final
class Job(JobSummary):
    """A job with its data."""

    result: Any
    worker_id: str | None
    progress: float | None
    progress_message: str | None
    tasks: list[JobTask]
    branches: FanOutProgress | None
    waiting_for: JobWait | None
    decision: str | None
    children: list[str]
    initial_data: dict[str, Any]
    state_history: dict[str, Any]


@final
class HistoryEntry(TypedDict):
    """One event in the history of a job."""

    seq: int
    version: int
    timestamp: str
    event_type: str
    state: str | None
    task_id: str | None
    attempt: int | None
    worker_id: str | None
    duration_ms: int | None
    data: Any


class History(TypedDict):
    """The history of a job, oldest event first, and notes about ignored messages."""

    job_id: str
    events: list[HistoryEntry]
    notes: list[dict[str, Any]]
    next: int | None


@final
class StreamEntry(TypedDict):
    """An entry of the stream of a job. *data* is text for ``text`` and ``log``, bytes for ``bytes``, any JSON for
    ``json``, the number of missing entries for ``dropped``, and None for ``restart``. *level* is that of a ``log``."""

    seq: int
    task_id: str | None
    attempt: int | None
    kind: str
    data: Any
    level: str | None
    at: str | None


class StreamPage(TypedDict):
    """A page of the stream of a job, oldest entry first. *has_ended*: there will be no further entries."""

    job_id: str
    entries: list[StreamEntry]
    next: int
    has_ended: bool


class Reason(TypedDict):
    """A reason why a job does not proceed."""

    code: str
    text: str
    job_id: str
    facts: dict[str, Any]


class Why(TypedDict):
    """The reasons why a job does not proceed, the most important first."""

    job_id: str
    status: str
    current_state: str | None
    reasons: list[Reason]


class LoginLink(TypedDict):
    """A link that logs in to the pages once; *expires_in* is in seconds."""

    url: str
    expires_in: int


class ApprovalLink(TypedDict):
    """A link that allows its holder to decide one approval."""

    url: str
    expires_at: str


class JobFile(TypedDict):
    """A file of a job."""

    name: str
    uri: str
    size: int
    modified_at: str


class FileOrigin(TypedDict, total=False):
    """The task, handler or client that created a file."""

    kind: str
    job_id: str
    task_id: str
    attempt: int
    state: str
    worker_id: str
    client: str


class FileUse(TypedDict):
    """A job that refers to a file."""

    job_id: str
    status: str
    where: list[str]


class Lineage(TypedDict):
    """The origin of a file and the jobs that use it."""

    uri: str
    made_by: FileOrigin | None
    used_by: list[FileUse]
    is_complete: bool


class BlueprintSummary(TypedDict):
    """A blueprint that the server runs."""

    name: str
    plan: str
    url: str | None
    start: str
    task_types: list[str]


class Transition(TypedDict):
    """An edge of the graph."""

    target: str
    outcome: str | None
    task_type: str | None
    guard: str | None
    via: str


class State(TypedDict):
    """A node of the graph."""

    name: str
    queue: str | None
    is_start: bool
    end: str | None
    task_types: list[str]
    is_aggregator: bool
    children: list[str]
    transitions: list[Transition]


class Binding(TypedDict):
    """A routing rule."""

    exchange: str
    key: str
    queue: str
    targets: list[str]


class BlueprintPlan(BlueprintSummary):
    """A compiled blueprint: states, queues and routing rules."""

    queues: list[str]
    states: list[State]
    bindings: list[Binding]
