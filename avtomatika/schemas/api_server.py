"""Responses of the HTTP API about the installation, and its errors."""

from typing import Any

from marshmallow import Schema, fields

from .api_fields import Timestamp, about


class ProblemSchema(Schema):
    """An error (RFC 9457, ``application/problem+json``)."""

    type = fields.String()
    title = fields.String()
    status = fields.Integer()
    detail = fields.String(metadata=about("for people"))
    code = fields.String(metadata=about("for programs"))
    errors = fields.Dict(metadata=about("error messages by field"))
    near = fields.List(fields.String(), metadata=about("existing names similar to the unknown one"))
    kind = fields.String(metadata=about("kind of the missing object: job, blueprint, path and so on"))
    name = fields.String(metadata=about("name of the missing object"))
    limit = fields.Integer(metadata=about("quota: jobs per month"))
    created = fields.Integer(metadata=about("jobs created this month"))
    renews_at = fields.String(metadata=about("when the quota is renewed"))
    incident = fields.String(metadata=about("identifies the error in the log"))


class HealthSchema(Schema):
    """The state of this process or of the server."""

    status = fields.String()


class ReadinessSchema(HealthSchema):
    """The state of the job server."""

    server = fields.String(metadata=about("version of the server"))
    persistence = fields.String(
        metadata=about("durability of the server: off, no, everysec or always (its appendfsync)")
    )
    eviction = fields.String(metadata=about("eviction policy of the server (its maxmemory-policy)"))
    warnings = fields.List(fields.String(), metadata=about("subjects of warnings; `avtomatika doctor` shows details"))


class ServiceSchema(HealthSchema):
    """The name and the version of the service."""

    service = fields.String()
    version = fields.String()


def _numbers(description: str, **options: Any) -> fields.Field[Any]:
    return fields.Dict(fields.String(), fields.Integer(), metadata=about(description), **options)


class FindingSchema(Schema):
    """The result of one check, or a problem. Dumps a Finding."""

    kind = fields.Function(lambda found: found.kind or found.subject, metadata=about("for programs", type="string"))
    subject = fields.String(metadata=about("what has the problem, such as a queue or a setting"))
    state = fields.String(metadata=about("ok, warning or fault"))
    count = fields.Integer(metadata=about("number of tasks, jobs, messages or workers"))
    finding = fields.String(attribute="text")


class FindingListSchema(Schema):
    """The results of all checks."""

    findings = fields.List(fields.Nested(FindingSchema))


class FiguresSchema(Schema):
    """The figures of now. Dumps an Overview."""

    at = Timestamp(attribute="at_ms")
    jobs = _numbers("jobs by status")
    waiting = _numbers(
        "jobs by what they wait for: start, worker, parallel, human, timer, child, quarantined; "
        "no_worker: waiting tasks of skills that no worker has"
    )
    tasks = _numbers("tasks of all skills: running, waiting, oldest_waiting_seconds")
    workers = _numbers("workers by status; alive: those that can execute tasks", attribute="workers_by_status")
    dead_letters = _numbers("dead letters by queue")
    versions = fields.List(fields.String(), attribute="all_versions", metadata=about("of running processes"))


class PointsSchema(Schema):
    """Figures of equal intervals, oldest first; the last one has not ended."""

    starts_at = Timestamp(attribute="starts_ms")
    step_seconds = fields.Integer()
    series = fields.Dict(
        fields.String(),
        fields.List(fields.Float(allow_none=True)),
        metadata=about(
            "jobs created, finished, failed (or with an error) and cancelled; the average tasks running and waiting, "
            "and the maximum oldest_waiting_seconds; null where nothing was counted or sampled"
        ),
    )


class OverviewSchema(Schema):
    """What happens now, what happened, and what is wrong."""

    now = fields.Nested(FiguresSchema)
    hour = fields.Nested(PointsSchema, metadata=about("60 minutes"))
    day = fields.Nested(PointsSchema, metadata=about("144 intervals of 10 minutes"))
    problems = fields.List(fields.Nested(FindingSchema), metadata=about("faults, then warnings"))


class SkillViewSchema(Schema):
    """A skill and the JSON schema of its parameters."""

    name = fields.String()
    schema = fields.Dict()


class LinkViewSchema(Schema):
    """A server address of the worker and the state of the link."""

    address = fields.String()
    state = fields.String(metadata=about("in_use, standby or down"))


class WorkerSchema(Schema):
    """A worker as last reported. Dumps a WorkerRecord."""

    id = fields.String(attribute="worker_id")
    type = fields.String(attribute="record.type")
    version = fields.String(attribute="record.version")
    status = fields.String(
        metadata=about(
            "idle, busy, full, offline; unfit: it takes no tasks of some skills for now; "
            "lost: it has missed heartbeats; revoked: no token of it is valid"
        )
    )
    unfit = fields.Dict(
        attribute="beat.unfit",
        metadata=about("the reason why it takes no tasks of these skills for now, if there is one"),
    )
    standby = fields.Boolean(attribute="is_standby", metadata=about("it takes its tasks from another server"))
    running = fields.Integer(attribute="beat.running", metadata=about("running tasks, over all links"))
    concurrency = fields.Integer(attribute="record.concurrency", allow_none=True)
    skills = fields.List(fields.Nested(SkillViewSchema), attribute="record.skills")
    links = fields.List(fields.Nested(LinkViewSchema), attribute="beat.links")
    switches = fields.Integer(attribute="beat.switches", metadata=about("number of failovers between links"))
    resources = fields.Dict(attribute="record.resources")
    costs = fields.Dict(attribute="record.costs", metadata=about("cost of a task, by skill"))
    reputation = fields.Float(metadata=about("success rate of its last tasks, from 0 to 1"))
    registered_at = Timestamp(attribute="since_ms")
    last_heartbeat_at = Timestamp(attribute="heard_ms")


class WorkerListSchema(Schema):
    """Workers by id."""

    workers = fields.List(fields.Nested(WorkerSchema))
