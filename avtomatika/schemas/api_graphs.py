"""Overlays of graphs: the path of a job, and the live state of all jobs."""

from collections.abc import Mapping
from typing import Any

from avtomatika.core.graph.traffic import LiveTraffic, RunningJob
from avtomatika.core.graph.visits import Visit

from .api_fields import rfc3339

#: Maximum number of running jobs in the response, newest first.
_NAMED_JOBS = 100


def visit_as_json(visit: Visit) -> dict[str, Any]:
    """Return a visit of a job to a state: the attempts and branches that ended in it, and the way out."""
    names = ("state", "duration_ms", "target", "outcome", "attempts", "failures", "branches")
    left_at = None if visit.left_ms is None else rfc3339(visit.left_ms)
    times = {"entered_at": rfc3339(visit.entered_ms), "left_at": left_at}
    return times | {name: getattr(visit, name) for name in names}


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
