"""The answers of the HTTP API about blueprints, workers, queues and the installation, as in :mod:`.answers`."""

from typing import Annotated, Any, Literal, TypedDict

from avtomatika.core.plan import EndKind, Via

from .answers import Time


class BlueprintSummary(TypedDict):
    """A blueprint of this server."""

    name: str
    plan: Annotated[str, "version of the blueprint, 8 hex digits"]
    url: Annotated[str | None, "the path for creating jobs; null without an endpoint"]
    start: str
    task_types: list[str]
    description: Annotated[str | None, "docstring of the handler of the first state"]
    input_schema: Annotated[dict[str, Any] | None, "JSON Schema of the initial data; null without an input type"]


class Transition(TypedDict):
    """An edge of the graph; `outcome` is null for a plain go_to."""

    target: str
    outcome: str | None
    task_type: str | None
    guard: str | None
    via: Annotated[str, Via, "the action that leads there"]


class State(TypedDict):
    """A node of the graph."""

    name: str
    queue: Annotated[str | None, "null: the blueprint's main queue"]
    is_start: bool
    end: Annotated[str, EndKind] | None
    task_types: list[str]
    is_aggregator: Annotated[bool, "joins the branches of a fan-out"]
    children: Annotated[list[str], "blueprints of child jobs that it starts"]
    transitions: list[Transition]


class Binding(TypedDict):
    """A routing rule: messages with this key are routed to this queue."""

    exchange: Literal["avt.steps"]
    key: str
    queue: str
    targets: Annotated[list[str], "possible next states"]


class BlueprintPlan(BlueprintSummary):
    """A compiled blueprint: states, queues, routing rules."""

    queues: list[str]
    states: list[State]
    bindings: list[Binding]


class WorkerSkill(TypedDict):
    """A skill and the JSON schema of its parameters."""

    name: str
    schema: dict[str, Any]


class WorkerLink(TypedDict):
    """A server address of the worker and the state of the link."""

    address: str
    state: Annotated[str, "in_use, standby or down"]


class WorkerTask(TypedDict):
    """A task that a worker runs."""

    task_id: str
    job_id: str
    skill: Annotated[str | None, "null for workers of the SDK"]
    started_at: Time | None
    running_ms: Annotated[int | None, "for how long, at the last heartbeat"]


class WorkerInfo(TypedDict):
    """A worker as last reported."""

    id: str
    type: str
    version: str
    status: Annotated[
        str,
        "idle, busy, full, offline; draining: it takes no new tasks; unfit: it takes no tasks of some skills for now; "
        "lost: it has missed heartbeats; revoked: its token is rejected",
    ]
    unfit: Annotated[dict[str, Any], "the reason why it takes no tasks of these skills for now, if there is one"]
    standby: Annotated[bool, "it takes its tasks from another server"]
    running: Annotated[int, "running tasks, over all links"]
    tasks: Annotated[list[WorkerTask], "running tasks at its last heartbeat, the oldest first, at most 100"]
    concurrency: int | None
    drain_requested_at: Time | None
    drain_requested_by: str | None
    skills: list[WorkerSkill]
    links: list[WorkerLink]
    switches: Annotated[int, "number of failovers between links"]
    resources: dict[str, Any]
    costs: Annotated[dict[str, Any], "cost of a task, by skill"]
    reputation: Annotated[float, "success rate of its last tasks, from 0 to 1"]
    registered_at: Time
    last_heartbeat_at: Time


class QueueInfo(TypedDict):
    """A queue and its message counts."""

    name: str
    waiting: Annotated[int, "messages that wait for a consumer"]
    held: Annotated[int, "messages leased to consumers"]
    delayed: int
    dead: Annotated[int, "dead letters"]
    consumers: Annotated[int, "consumers that took messages lately"]
    waited_ms: Annotated[int, "how long the first message has waited, 0 if none waits"]
    paused_at: Annotated[Time | None, "no consumer takes from it since"]
    paused_by: str | None


class LimitInfo(TypedDict):
    """A limit of tasks, over all workers."""

    kind: Annotated[str, "skill, blueprint, client or key"]
    name: str
    concurrency: Annotated[int | None, "how many tasks run at a time; null: any number"]
    rate: Annotated[str | None, "how many tasks start in a time, such as 100/minute; null: any number"]
    source: Annotated[str, "where it is defined: file, api or worker; empty if it is only paused, or sent with tasks"]
    running: Annotated[int, "tasks that workers run"]
    waiting: Annotated[int, "tasks that wait for this limit"]
    paused_at: Annotated[Time | None, "no task starts since"]
    paused_by: str | None
    jobs: Annotated[list[str], "ids of jobs whose tasks run, at most 20"]


class ScheduleInfo(TypedDict):
    """A schedule and its state."""

    name: str
    status: Annotated[str, "active, paused, or disabled by its definition"]
    source: Annotated[str, "where it is defined: file, code or api"]
    timing: Annotated[str, "when it runs, for people"]
    timezone: str
    definition: Annotated[dict[str, Any], "its fields, as they can be put"]
    next: Annotated[list[Time], "its next ticks"]
    last_at: Annotated[Time | None, "the tick of the last run"]
    last_job_id: str | None
    last_status: Annotated[str | None, "status of that job; null if it was deleted"]
    waiting: Annotated[int, "ticks that wait for the previous job"]
    skipped: Annotated[int, "ticks left out because of the previous job"]
    error: Annotated[str | None, "why the last tick could not run"]


class ScheduledRun(TypedDict):
    """A tick and its job."""

    scheduled_at: Time
    job_id: Annotated[str | None, "null with dry_run, or if it ran before and its definition has changed since"]
    existing: Annotated[bool, "true: it had run before"]


class Purge(TypedDict):
    """The result of purging a queue."""

    removed: Annotated[int, "number of deleted messages"]


class QueuedMessage(TypedDict):
    """A message that waits in a queue."""

    id: str
    queue: str
    kind: str | None
    job_id: str | None
    routing_key: str
    priority: int
    deliveries: int
    at: Time
    body: Annotated[Any, "without signatures and tickets"]


class DeadLetter(QueuedMessage):
    """A dead-lettered message."""

    reason: str | None
    error: str | None


class Scaling(TypedDict):
    """The workers that a skill needs, and the figures that this follows from."""

    workers: Annotated[int, "workers needed"]
    slots: Annotated[int, "tasks that they must run at a time"]
    online_workers: Annotated[int, "workers that have the skill now"]
    waiting: int
    running: int
    tasks_per_second: Annotated[float, "tasks that ended in the last five minutes"]
    task_seconds: Annotated[float, "their average duration; 0 if none ended"]


class Finding(TypedDict):
    """The result of one check, or a problem."""

    kind: Annotated[str, "for programs"]
    subject: Annotated[str, "what has the problem, such as a queue or a setting"]
    state: Annotated[str, "ok, warning or fault"]
    count: Annotated[int, "number of tasks, jobs, messages or workers"]
    finding: str


class Figures(TypedDict):
    """The figures of now."""

    at: Time
    jobs: Annotated[dict[str, int], "jobs by status"]
    waiting: Annotated[
        dict[str, int],
        "jobs by what they wait for: start, worker, parallel, human, timer, child, quarantined; "
        "no_worker: waiting tasks of skills that no worker has",
    ]
    tasks: Annotated[dict[str, int], "tasks of all skills: running, waiting, oldest_waiting_seconds"]
    workers: Annotated[dict[str, int], "workers by status; alive: those that can execute tasks"]
    dead_letters: Annotated[dict[str, int], "dead letters by queue"]
    versions: Annotated[list[str], "of running processes"]


class Points(TypedDict):
    """Figures of equal intervals, oldest first; the last one has not ended."""

    starts_at: Time
    step_seconds: int
    series: Annotated[
        dict[str, list[float | None]],
        "jobs created, finished, failed (or with an error) and cancelled; the average tasks running and waiting, "
        "and the maximum oldest_waiting_seconds; null where nothing was counted or sampled",
    ]


class Overview(TypedDict):
    """The figures of now, of the last hour and day, and the problems."""

    now: Figures
    hour: Annotated[Points, "60 minutes"]
    day: Annotated[Points, "144 intervals of 10 minutes"]
    problems: Annotated[list[Finding], "faults, then warnings"]
