"""The answers to operators as types: dicts with these keys. Times are RFC 3339 in UTC."""

from typing import Any, TypedDict


class WorkerSkill(TypedDict):
    """A skill and the JSON schema of its parameters."""

    name: str
    schema: dict[str, Any]


class WorkerLink(TypedDict):
    """A server address of a worker and the state of its link."""

    address: str
    state: str


class WorkerInfo(TypedDict):
    """A worker as last reported."""

    id: str
    type: str
    version: str
    status: str
    unfit: dict[str, Any]
    standby: bool
    running: int
    concurrency: int | None
    skills: list[WorkerSkill]
    links: list[WorkerLink]
    switches: int
    resources: dict[str, Any]
    costs: dict[str, Any]
    reputation: float
    registered_at: str
    last_heartbeat_at: str


class QueueInfo(TypedDict):
    """A queue and its message counts."""

    name: str
    waiting: int
    held: int
    delayed: int
    dead: int
    consumers: int
    waited_ms: int


class QueuedMessage(TypedDict):
    """A message that waits in a queue."""

    id: str
    queue: str
    kind: str | None
    job_id: str | None
    routing_key: str
    priority: int
    deliveries: int
    at: str
    body: Any


class DeadLetter(QueuedMessage):
    """A dead-lettered message."""

    reason: str | None
    error: str | None


class Finding(TypedDict):
    """The result of one check of the installation, or a problem."""

    kind: str
    subject: str
    state: str
    count: int
    finding: str


class Figures(TypedDict):
    """The figures of now."""

    at: str
    jobs: dict[str, int]
    waiting: dict[str, int]
    tasks: dict[str, float]
    workers: dict[str, int]
    dead_letters: dict[str, int]
    versions: list[str]


class Points(TypedDict):
    """Figures of equal intervals, oldest first."""

    starts_at: str
    step_seconds: int
    series: dict[str, list[float | None]]


class Overview(TypedDict):
    """What happens now, what happened, and what is wrong."""

    now: Figures
    hour: Points
    day: Points
    problems: list[Finding]
