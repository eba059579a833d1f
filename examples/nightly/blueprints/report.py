"""Every night, a report about the day before."""

from datetime import datetime, timedelta

from avtomatika import Blueprint, RetryPolicy

bp = Blueprint(
    "report",
    api_endpoint="jobs/report",
    retry=RetryPolicy(max_retries=6, delay=1, max_delay=600),  # after about 1, 2, 4 ... 32 seconds
    execution_timeout=timedelta(hours=5),
)


@bp.handler(is_start=True)
def collect(scheduled_at: datetime, job_data, actions):
    job_data["day"] = (scheduled_at - timedelta(days=1)).date()
    actions.dispatch_task("read_sales", {"day": job_data["day"]}, transitions={"success": "write", "failure": "alarm"})


@bp.handler
def write(day, sales, actions):
    actions.dispatch_task("write_report", {"day": day, "sales": sales}, {"success": "done", "failure": "alarm"})


@bp.handler
def alarm(error, actions):
    """All attempts failed: tell the people on call."""
    actions.dispatch_task("alert", {"text": error["message"]}, transitions={"success": "failed", "failure": "failed"})


@bp.handler(is_end=True)
def done(day, report, total):
    return {"day": day, "report": report, "total": total}


@bp.handler(is_end="failed")
def failed(day):
    return {"day": day}
