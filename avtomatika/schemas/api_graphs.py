"""Overlays of graphs: the path of a job, and the live state of all jobs."""

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, fields

from avtomatika.core.graph.traffic import LiveTraffic, RunningJob

from .api_fields import Timestamp, about, rfc3339

#: Maximum number of running jobs in the response, newest first.
_NAMED_JOBS = 100


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
