"""The schedules: their next ticks, their last jobs, and buttons that run, pause and resume them."""

from datetime import datetime
from zoneinfo import ZoneInfo

from flask import Response

from ..api import schedules
from ..auth import require_operator
from ..services import services
from .rendering import page
from .routes import routes, see_other

_TICKS = 2


@routes.get("/schedules")
def show_schedules() -> Response:
    """List schedules"""
    require_operator()
    found = schedules.views(services().store.schedules.all(), ticks=_TICKS)
    return page("schedules.html", schedules=found, local=_local)


@routes.post("/schedules/<name>/<any(run, pause, resume):action>")
def act_on_schedule(name: str, action: str) -> Response:
    """Run a schedule, pause it or resume it"""
    require_operator()
    if action == "run":
        return see_other("pages.show_job", job_id=schedules.run_now(name).job_id)
    schedules.set_paused(name, action == "pause")
    return see_other("pages.show_schedules")


def _local(timestamp_ms: int, zone: str) -> str:
    """Format a time by the wall clock of *zone*."""
    return f"{datetime.fromtimestamp(timestamp_ms / 1000, ZoneInfo(zone)):%a %-d %b %Y, %H:%M:%S %Z}"
