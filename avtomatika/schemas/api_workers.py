"""Workers in the HTTP API and the command line."""

from marshmallow import Schema, fields

from .api_fields import Timestamp, about


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
