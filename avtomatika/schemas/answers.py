"""The answers of the HTTP API: dicts with these keys. The annotations have the descriptions of the OpenAPI document,
whose schemas :mod:`.responses` makes of these types. Times are RFC 3339 in UTC."""

from datetime import datetime
from typing import Annotated, Any, Literal, TypedDict, final

from avtomatika.core.job import JobStatus

Time = Annotated[str, datetime]
Status = Annotated[str, JobStatus]


@final
class SubmittedJob(TypedDict):
    """A created job."""

    status: Literal["accepted"]
    job_id: str


class SubmittedJobs(TypedDict):
    """Jobs created together."""

    status: Literal["accepted"]
    job_ids: Annotated[list[str], "in the order of the jobs"]


class JobSummary(TypedDict):
    """A job without its data."""

    id: str
    status: Status
    blueprint_name: str
    skill: Annotated[str | None, "of a single task; else null"]
    plan: Annotated[str, "version of the blueprint, 8 hex digits"]
    current_state: str | None
    error: dict[str, Any] | None
    client: str
    retry_of: Annotated[str | None, "the job whose next try this one is"]
    fork_of: Annotated[str | None, "the job that this one was forked from"]
    tries: Annotated[int, "the number of this try, from 1"]
    scheduled_at: Annotated[Time | None, "the tick of its schedule; else null"]
    parent_id: Annotated[str | None, "the parent job, which waits for this one"]
    priority: int
    unique_key: str | None
    labels: dict[str, str]
    version: Annotated[int, "incremented with each change"]
    created_at: Time
    updated_at: Time


class JobList(TypedDict):
    """A page of jobs, newest first."""

    jobs: list[JobSummary]
    next: Annotated[str | None, "cursor of the next page; null at the end"]


class Tries(TypedDict):
    """The tries and forks of a job that the server has, with that job."""

    jobs: list[JobSummary]


class JobCounts(TypedDict):
    """Numbers of jobs by status."""

    counts: Annotated[dict[str, int], {"example": {"failed": 12}}]
    total: int
    is_exact: Annotated[bool, "false: too many jobs to count; there are more than these"]


class ActionRefusal(TypedDict):
    """A job that an action was not applied to."""

    job_id: str
    code: str
    reason: str


class ActionResult(TypedDict):
    """The effect of one request: on a part of the jobs, if `next` is not null."""

    matched: Annotated[int, "jobs of this part; with dry_run of all"]
    blueprints: Annotated[dict[str, int], "the same by blueprint", {"example": {"video": 1200, "photo": 40}}]
    is_exact: Annotated[bool, "false: with dry_run there are more jobs than these"]
    done: int
    refused: int
    refusals: Annotated[list[ActionRefusal], "the first 20"]
    next: Annotated[str | None, "`cursor` of the next request; null at the end"]


class JobTask(TypedDict):
    """An open task of a job."""

    id: str
    task_type: str
    state: str
    attempt: int
    worker_id: str | None
    routed_to: Annotated[str | None, "the worker selected for it"]
    waits_for: Annotated[str | None, "why no worker could be selected for it"]
    progress: Annotated[float | None, "from 0 to 1; null until its worker reports"]
    progress_message: str | None


class JobWait(TypedDict):
    """The timer, approval, signal or child job that a job waits for."""

    kind: Annotated[str, "timer, approval, signal or child"]
    since: Time
    until: Annotated[Time | None, "null if there is no limit"]
    integration: str | None
    message: Annotated[str | None, "the question"]
    decisions: Annotated[list[str] | None, "the possible decisions"]
    form: Annotated[dict[str, Any] | None, "JSON Schema of the data that a decision or a signal must have"]
    assignees: Annotated[list[str], "only these clients, and those with `role`, may decide, if there are any"]
    role: str | None
    signal: str | None
    child_id: str | None


class FanOutProgress(TypedDict):
    """The progress of a fan-out, as numbers of branches."""

    total: int
    sent: Annotated[int, "dispatched so far"]
    left: Annotated[int, "unfinished"]
    failed: Annotated[int, "failed, and joined like the others"]


@final
class Job(JobSummary):
    """A job with its data."""

    result: Annotated[Any, 'a large value in S3 is {"$file": URI, "sha256", "bytes"}; its file is at .../files/{name}']
    worker_id: Annotated[str | None, "the worker of the open task"]
    progress: Annotated[float | None, "of the open task that reported last, from 0 to 1"]
    progress_message: str | None
    tasks: Annotated[list[JobTask], "open tasks, without the tasks of a fan-out"]
    branches: Annotated[FanOutProgress | None, "of the fan-out that the job waits for"]
    waiting_for: Annotated[JobWait | None, "a timer, an approval, a signal or a child job; null for tasks"]
    decision: Annotated[str | None, "the decision on the approval, until the job resumes"]
    children: Annotated[list[str], "ids of the last 100 child jobs; all have the label `parent`"]
    initial_data: dict[str, Any]
    state_history: Annotated[dict[str, Any], "what results left, merged"]


@final
class HistoryEntry(TypedDict):
    """An event in the history of a job."""

    seq: Annotated[int, "1, 2, 3 ... without gaps"]
    version: Annotated[int, "version of the job after the event"]
    timestamp: Time
    event_type: str
    state: str | None
    task_id: str | None
    attempt: int | None
    worker_id: str | None
    duration_ms: int | None
    data: Any


class History(TypedDict):
    """A page of the history, oldest event first, and notes about ignored messages."""

    job_id: str
    events: list[HistoryEntry]
    notes: list[dict[str, Any]]
    next: Annotated[int | None, "`after` of the next page; null at the end"]


@final
class StreamEntry(TypedDict):
    """An entry of the stream of a job. `Client` decodes the data of `bytes`."""

    seq: Annotated[int, "grows by 1"]
    task_id: str | None
    attempt: int | None
    kind: Annotated[
        str,
        "`text`, `json`, `bytes`, `log`; `restart`: a new run of the task starts; `dropped`: "
        "entries are missing; `end`: the job has ended",
    ]
    data: Annotated[Any, "text; JSON; base64; of `dropped` the number of entries; of `end` the job's status"]
    level: Annotated[str | None, "of a `log`"]
    at: Time | None


class StreamPage(TypedDict):
    """A page of the stream of a job, oldest entry first."""

    job_id: str
    entries: list[StreamEntry]
    next: Annotated[int, "`after` of the next page"]
    has_ended: Annotated[bool, "whether there will be no further entries"]


class Reason(TypedDict):
    """A reason why a job does not proceed."""

    code: Annotated[str, "for programs"]
    text: Annotated[str, "for people"]
    job_id: Annotated[str, "the job that the reason is about: this one, or a child job"]
    facts: Annotated[dict[str, Any], "the facts behind the text"]


class Why(TypedDict):
    """The reasons why a job does not proceed, the most important first."""

    job_id: str
    status: Status
    current_state: str | None
    reasons: list[Reason]


class SentSignal(TypedDict):
    """A signal that is kept with its job until the job takes it."""

    status: Literal["accepted"]
    job_id: str
    signal: str


class LoginLink(TypedDict):
    """A link that logs in to the pages once."""

    url: str
    expires_in: Annotated[int, "seconds"]


class ApprovalLink(TypedDict):
    """A link whose holder can decide one approval."""

    url: str
    expires_at: Time


class JobFile(TypedDict):
    """A file of a job."""

    name: Annotated[str, "relative to the files of the job"]
    uri: str
    size: Annotated[int, "bytes"]
    modified_at: Time


class FileList(TypedDict):
    """A page of files, by name."""

    job_id: str
    files: list[JobFile]
    next: Annotated[str | None, "`after` of the next page; null at the end"]


class Upload(TypedDict):
    """Where to upload a file: send `method` to `url` with all `headers`; then `uri` identifies the file."""

    uri: Annotated[str, "for the initial data of jobs"]
    url: str
    method: Literal["PUT"]
    headers: dict[str, str]
    expires_in: Annotated[int, "seconds until the URL expires"]


class FileOrigin(TypedDict, total=False):
    """The task, handler or client that created a file."""

    kind: Annotated[str, "task, handler or client"]
    job_id: str
    task_id: str
    attempt: int
    state: str
    worker_id: str
    client: Annotated[str, "the owner"]


class FileUse(TypedDict):
    """A job that refers to a file or to a folder that contains it."""

    job_id: str
    status: str
    where: Annotated[list[str], "initial_data, state_history, tasks"]


class Lineage(TypedDict):
    """The origin of a file and the jobs that use it."""

    uri: str
    made_by: FileOrigin | None
    used_by: Annotated[list[FileUse], "newest first"]
    is_complete: Annotated[bool, "false if only the newest 10,000 jobs were searched"]
