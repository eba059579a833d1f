"""Responses of the HTTP API about blueprints, and about graphs: the path of a job, and the live state of all jobs."""

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, fields

from avtomatika.core.graph.traffic import LiveTraffic, RunningJob
from avtomatika.core.plan import STEPS, EndKind, Plan, Via

from .api_fields import Timestamp, about, rfc3339

#: Maximum number of running jobs in the response, newest first.
_NAMED_JOBS = 100


def creation_path(plan: Plan) -> str | None:
    """Return the path for creating jobs of *plan*, or None if it has no endpoint."""
    return None if plan.api_endpoint is None else f"/api/{plan.api_version}/{plan.api_endpoint}"


class BlueprintSummarySchema(Schema):
    """A blueprint of this server. Dumps a Plan."""

    name = fields.String(attribute="blueprint")
    plan = fields.String(attribute="plan_hash", metadata=about("version of the blueprint, 8 hex digits"))
    url = fields.Function(
        creation_path, metadata=about("the path for creating jobs; null without an endpoint", type="string")
    )
    start = fields.String()
    task_types = fields.List(fields.String())


class BlueprintListSchema(Schema):
    """The blueprints of this server."""

    blueprints = fields.List(fields.Nested(BlueprintSummarySchema))


class TransitionSchema(Schema):
    """An edge of the graph; `outcome` is null for a plain go_to."""

    target = fields.String()
    outcome = fields.String(allow_none=True)
    task_type = fields.String(allow_none=True)
    guard = fields.String(allow_none=True)
    via = fields.Enum(Via, by_value=True, metadata=about("the action that leads there"))


class StateSchema(Schema):
    """A node of the graph."""

    name = fields.String()
    queue = fields.String(allow_none=True, metadata=about("null: the blueprint's main queue"))
    is_start = fields.Boolean()
    end = fields.Enum(EndKind, by_value=True, allow_none=True)
    task_types = fields.List(fields.String())
    is_aggregator = fields.Boolean(metadata=about("joins the branches of a fan-out"))
    children = fields.List(fields.String(), metadata=about("blueprints of child jobs that it starts"))
    transitions = fields.List(fields.Nested(TransitionSchema))


class BindingSchema(Schema):
    """A routing rule: messages with this key are routed to this queue."""

    exchange = fields.Constant(STEPS)
    key = fields.String()
    queue = fields.String()
    targets = fields.List(fields.String(), metadata=about("possible next states"))


class PlanSchema(BlueprintSummarySchema):
    """A compiled blueprint: states, queues, routing rules. Dumps a Plan."""

    queues = fields.List(fields.String())
    states = fields.Function(lambda plan: StateSchema(many=True).dump(plan.states.values()))
    bindings = fields.List(fields.Nested(BindingSchema))


class StaySchema(Schema):
    """A visit of a job to a state. Dumps a Visit."""

    state = fields.String()
    entered_at = Timestamp(attribute="entered_ms")
    left_at = Timestamp(attribute="left_ms", allow_none=True)
    duration_ms = fields.Integer(allow_none=True)
    target = fields.String(allow_none=True, metadata=about("the next state"))
    outcome = fields.String(allow_none=True)
    attempts = fields.Integer(metadata=about("task attempts that ended during the visit"))
    failures = fields.Integer(metadata=about("attempts that failed"))
    branches = fields.Integer(metadata=about("branches of a fan-out that ended during the visit"))


def traffic_as_json(live: LiveTraffic) -> Mapping[str, Any]:
    """``{"at", "jobs", "states", "queues", "sampled", "edges", "running"}``."""
    traffic = live.traffic
    return {
        "at": rfc3339(live.now_ms),
        "jobs": live.count,
        "states": dict(traffic.jobs),
        "queues": [
            {"queue": queue, "waiting": depth.waiting, "in_hand": depth.in_flight}
            for queue, depth in traffic.depths.items()
        ],
        "sampled": traffic.sampled,
        "edges": [
            {
                "source": source,
                "target": target,
                "outcome": outcome,
                "count": figures.count,
                "share": round(figures.share, 4),
                "p50_ms": figures.p50_ms,
                "p95_ms": figures.p95_ms,
                "failure_share": round(figures.failure_share, 4),
            }
            for (source, target, outcome), figures in traffic.edges.items()
        ],
        "running": [_running(live, job) for job in live.running[:_NAMED_JOBS]],
    }


def _running(live: LiveTraffic, job: RunningJob) -> Mapping[str, Any]:
    end_ms = live.expected_end_ms(job)
    return {
        "id": job.job_id,
        "status": job.status,
        "state": job.state,
        "since": rfc3339(job.since_ms),
        "expected_end": None if end_ms is None else rfc3339(end_ms),
    }
