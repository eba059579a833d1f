"""Responses of the HTTP API about jobs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from marshmallow import Schema, fields

from avtomatika.core.explain.facts import LiveState, TaskProgress
from avtomatika.core.explain.waiting import WaitView, waiting_for
from avtomatika.core.job import Job, JobStatus, Json

from .api_fields import Timestamp, about

_NOBODY = TaskProgress()


@dataclass(frozen=True, slots=True)
class JobView:
    """A job and its live state."""

    job: Job
    live_state: LiveState = field(default_factory=LiveState)

    @property
    def in_flight(self) -> Mapping[str, TaskProgress]:
        return self.live_state.in_flight

    @property
    def worker_id(self) -> str | None:
        """The worker of the first open task."""
        return next((hand.worker_id for hand in self.in_flight.values()), None)

    @property
    def parent_id(self) -> str | None:
        return None if self.job.parent is None else self.job.parent.job_id

    @property
    def waiting_for(self) -> WaitView | None:
        return waiting_for(self.job)

    @property
    def branches(self) -> dict[str, Json] | None:
        """The progress of a fan-out."""
        of = self.job.fan_out
        return None if of is None else {"total": of.size, "sent": of.sent, "left": self.live_state.branches_left}

    @property
    def latest(self) -> TaskProgress:
        """The open task that reported progress last."""
        return max(self.in_flight.values(), key=lambda hand: hand.reported_ms, default=_NOBODY)

    @property
    def tasks(self) -> list[dict[str, Json]]:
        return [
            {
                "id": task.id,
                "task_type": task.task_type,
                "state": task.state,
                "attempt": task.attempt,
                "worker_id": hand.worker_id,
                "routed_to": task.worker_id,
                "waits_for": task.missing,
                "progress": hand.progress,
                "progress_message": hand.message,
            }
            for task, hand in ((task, self.in_flight.get(task.id, _NOBODY)) for task in self.job.tasks.values())
        ]


class AcceptedSchema(Schema):
    """The job was created."""

    status = fields.Constant("accepted")
    job_id = fields.String(required=True)


class BatchAcceptedSchema(Schema):
    """The jobs were created."""

    status = fields.Constant("accepted")
    job_ids = fields.List(fields.String(), required=True, metadata=about("in the order of the jobs"))


class JobSummarySchema(Schema):
    """A job without its data. Dumps a :class:`JobView`."""

    id = fields.String(attribute="job.id")
    status = fields.Enum(JobStatus, by_value=True, attribute="job.status")
    blueprint_name = fields.String(attribute="job.blueprint")
    skill = fields.String(attribute="job.skill", allow_none=True, metadata=about("of a single task; else null"))
    plan = fields.String(attribute="job.plan_hash", metadata=about("version of the blueprint, 8 hex digits"))
    current_state = fields.String(attribute="job.current_state", allow_none=True)
    error = fields.Raw(attribute="job.error", allow_none=True)
    client = fields.String(attribute="job.client")
    retry_of = fields.String(attribute="job.retry_of", allow_none=True)
    parent_id = fields.String(allow_none=True, metadata=about("the parent job, which waits for this one"))
    priority = fields.Integer(attribute="job.priority")
    labels = fields.Dict(attribute="job.labels", keys=fields.String(), values=fields.String())
    version = fields.Integer(attribute="job.version", metadata=about("incremented with each change"))
    created_at = Timestamp(attribute="job.created_ms")
    updated_at = Timestamp(attribute="job.updated_ms")


class TaskSchema(Schema):
    """An open task of a job."""

    id = fields.String()
    task_type = fields.String()
    state = fields.String()
    attempt = fields.Integer()
    worker_id = fields.String(allow_none=True)
    routed_to = fields.String(allow_none=True, metadata=about("the worker selected for it"))
    waits_for = fields.String(allow_none=True, metadata=about("why no worker could be selected for it"))
    progress = fields.Float(allow_none=True, metadata=about("from 0 to 1; null until its worker reports"))
    progress_message = fields.String(allow_none=True)


class WaitingSchema(Schema):
    """The timer, approval or child job that a job waits for. Dumps a WaitView."""

    kind = fields.String(metadata=about("timer, approval or child"))
    since = Timestamp(attribute="since_ms")
    until = Timestamp(attribute="until_ms", metadata=about("null if there is no limit"))
    integration = fields.String(allow_none=True)
    message = fields.String(allow_none=True, metadata=about("the question"))
    decisions = fields.List(fields.String(), allow_none=True, metadata=about("the possible decisions"))
    child_id = fields.String(allow_none=True)


class BranchesSchema(Schema):
    """The progress of a fan-out."""

    total = fields.Integer()
    sent = fields.Integer(metadata=about("dispatched so far"))
    left = fields.Integer(metadata=about("unfinished"))


class JobSchema(JobSummarySchema):
    """A job with its data. Dumps a :class:`JobView`."""

    result = fields.Raw(
        attribute="job.result",
        allow_none=True,
        metadata=about('a large value in S3 is {"$file": URI, "sha256", "bytes"}; its file is at .../files/{name}'),
    )
    worker_id = fields.String(allow_none=True, metadata=about("the worker of the open task"))
    progress = fields.Float(
        attribute="latest.progress", allow_none=True, metadata=about("of the open task that reported last, from 0 to 1")
    )
    progress_message = fields.String(attribute="latest.message", allow_none=True)
    tasks = fields.List(fields.Nested(TaskSchema), metadata=about("open tasks, without the tasks of a fan-out"))
    branches = fields.Nested(BranchesSchema, allow_none=True, metadata=about("of the fan-out that the job waits for"))
    waiting_for = fields.Nested(
        WaitingSchema, allow_none=True, metadata=about("a timer, an approval or a child job; null for tasks")
    )
    decision = fields.String(
        attribute="live_state.decision",
        allow_none=True,
        metadata=about("the decision on the approval, until the job resumes"),
    )
    children = fields.List(fields.String(), attribute="job.children", metadata=about("ids of the child jobs"))
    initial_data = fields.Dict(attribute="job.initial_data")
    state_history = fields.Dict(attribute="job.state_history", metadata=about("what results left, merged"))


class JobListSchema(Schema):
    """A page of jobs, newest first."""

    jobs = fields.List(fields.Nested(JobSummarySchema))
    next = fields.String(allow_none=True, metadata=about("cursor of the next page; null at the end"))


class EntrySchema(Schema):
    """An event in the history of a job. Dumps a RecordedEntry."""

    seq = fields.Integer(metadata=about("1, 2, 3 ... without gaps"))
    version = fields.Integer(metadata=about("version of the job after the event"))
    timestamp = Timestamp(attribute="timestamp_ms")
    event_type = fields.String(attribute="entry.event_type")
    state = fields.String(attribute="entry.state", allow_none=True)
    task_id = fields.String(attribute="entry.task_id", allow_none=True)
    attempt = fields.Integer(attribute="entry.attempt", allow_none=True)
    worker_id = fields.String(attribute="entry.worker_id", allow_none=True)
    duration_ms = fields.Integer(attribute="entry.duration_ms", allow_none=True)
    data = fields.Raw(attribute="entry.data", allow_none=True)


class HistorySchema(Schema):
    """A page of the history, oldest event first, and notes about ignored messages."""

    job_id = fields.String()
    events = fields.List(fields.Nested(EntrySchema))
    notes = fields.List(fields.Dict())
    next = fields.Integer(allow_none=True, metadata=about("`after` of the next page; null at the end"))


class ReasonSchema(Schema):
    """One reason. Dumps a Reason."""

    code = fields.String(metadata=about("for programs"))
    text = fields.String(metadata=about("for people"))
    job_id = fields.String(metadata=about("the job that the reason is about: this one, or a child job"))
    facts = fields.Dict(metadata=about("the facts behind the text"))


class WhySchema(Schema):
    """The reasons why a job does not proceed, the most important first."""

    job_id = fields.String()
    status = fields.Enum(JobStatus, by_value=True)
    current_state = fields.String(allow_none=True)
    reasons = fields.List(fields.Nested(ReasonSchema))


class StreamEntrySchema(Schema):
    """An entry of the stream of a job. Dumps a StreamEntry."""

    seq = fields.Integer(metadata=about("grows by 1"))
    task_id = fields.String(allow_none=True)
    attempt = fields.Integer(allow_none=True)
    kind = fields.String(
        metadata=about(
            "`text`, `json`, `bytes`, `log`; `restart`: a new run of the task starts; `dropped`: "
            "entries are missing; `end`: the job has ended"
        )
    )
    data = fields.Raw(
        allow_none=True,
        metadata=about("text; JSON; base64; of `dropped` the number of entries; of `end` the job's status"),
    )
    level = fields.String(allow_none=True, metadata=about("of a `log`"))
    at = Timestamp(attribute="at_ms", allow_none=True)


class StreamPageSchema(Schema):
    """A page of the stream of a job, oldest entry first."""

    job_id = fields.String()
    entries = fields.List(fields.Nested(StreamEntrySchema))
    next = fields.Integer(metadata=about("`after` of the next page"))
    has_ended = fields.Boolean(metadata=about("whether there will be no further entries"))


class LinkSchema(Schema):
    """A link whose holder can decide once."""

    url = fields.String()
    expires_at = Timestamp(attribute="expires_ms")
