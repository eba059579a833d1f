"""The overview: what is wrong, what happens now, and what happened in the last hour and day."""

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response, request

from avtomatika.core.job import JobStatus
from avtomatika.diagnosis import overview, token_findings
from avtomatika.store import Finding, JobFilter, Overview, Reading

from ..auth import caller
from ..services import services
from .charts import Chart
from .jobs import STATUSES
from .rendering import page
from .routes import routes

_RECENT = 10
#: The series of the charts: their titles, and whether they are counts of jobs in an interval.
_CHARTS = {
    "created": ("created", True),
    "finished": ("finished", True),
    "failed": ("failed", True),
    "running": ("tasks running", False),
    "waiting": ("tasks waiting", False),
    "oldest_waiting_seconds": ("oldest waiting", False),
}


@routes.get("/")
def show_overview() -> Response:
    """Show what is wrong, what happens and what happened"""
    span = "day" if request.args.get("span") == "day" else "hour"
    owner = None if caller().is_operator else caller().name
    failures = (JobStatus.FAILED, JobStatus.ERROR)
    store = services().store
    readings: Sequence[Reading[Any]] = (
        store.read_list(JobFilter(client=owner, limit=_RECENT)),
        store.read_list(JobFilter(client=owner, status=failures, limit=_RECENT)),
        *([store.overview.reading()] if caller().is_operator else []),
    )
    (recent, _), (failed, _), *seen = store.read_together(*readings)
    shown = _figures(span, seen[0]) if seen else {}
    return page("overview.html", recent=recent, failed=failed, statuses=STATUSES, span=span, **shown)


def _figures(span: str, read: Overview) -> dict[str, Any]:
    seen = overview(services().store, read, token_findings(services().clients, services().workers))
    points = seen[span]
    series: Mapping[str, Sequence[float | None]] = points["series"]
    charts = [
        (name, title, is_count, Chart.of(series[name])) for name, (title, is_count) in _CHARTS.items() if name in series
    ]
    return {
        "now": seen["now"],
        "problems": [(found, _remedy(found)) for found in seen["problems"]],
        "charts": charts,
    }


def _remedy(problem: Finding) -> tuple[str, Mapping[str, str]] | None:
    """Return the page, and its arguments, on which a problem is mended; None for one outside of the pages."""
    match problem.kind:
        case "no_worker" | "long_wait" | "queue_paused":
            return "pages.show_queue", {"name": problem.subject}
        case "limit_paused":
            return "pages.show_limits", {}
        case "dead_letters":
            return "pages.show_dead_letters", {}
        case "quarantined":
            return "pages.show_jobs", {"status": JobStatus.QUARANTINED}
        case "schedule_error":
            return "pages.show_schedules", {}
        case "workers_lost" | "workers_revoked" | "versions_mixed":
            return "pages.show_workers", {}
    return None
