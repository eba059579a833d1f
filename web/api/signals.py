"""Sending signals to jobs."""

from typing import Any

import orjson

from avtomatika.core.job import Job, Json
from avtomatika.core.machine.signals import check_early, check_signal
from avtomatika.core.names import is_user_name
from avtomatika.errors import InvalidRequestError, NotFoundError
from avtomatika.schemas.answers import SentSignal
from avtomatika.schemas.api_requests import SignalSchema

from ..auth import caller
from ..routes import Routes
from ..services import services
from .creation import IDEMPOTENCY_PARAMETER, idempotency_key
from .jobs import callers_job

routes = Routes("signals", __name__, url_prefix="/api/v1/jobs", description="Send signals to jobs")

#: Maximum size of the data of a signal as JSON.
_MOST_BYTES = 64 * 1024


@routes.post("/<job_id>/signals/<name>", parameters=[IDEMPOTENCY_PARAMETER])
@routes.arguments(SignalSchema)
@routes.response(202, SentSignal)
def send_signal(sent: dict[str, Any], job_id: str, name: str) -> dict[str, str]:
    """Send a signal to a job, which takes it when it waits for it"""
    send(callers_job(job_id), name, sent["data"], idempotency_key=idempotency_key() or sent["idempotency_key"])
    return {"job_id": job_id, "signal": name}


def send(job: Job, name: str, data: Json, *, idempotency_key: str | None = None) -> None:
    """Send the signal *name* of the caller. Raises InvalidRequestError by field if *data* does not fit its schema,
    NotFoundError if the job never waits for it."""
    size = len(orjson.dumps(data))
    if size > _MOST_BYTES:
        message = f"is {size} bytes of JSON, above the limit of {_MOST_BYTES}"
        raise InvalidRequestError(f"the data of the signal {message}", fields={"data": [message]})
    plan = services().plans.get(job.blueprint)
    if not is_user_name(name) or job.skill is not None:
        raise NotFoundError("signal", name)
    if job.wait is not None and job.wait.details.get("signal") == name:
        check_signal(job.wait, data)
    elif plan is not None and plan.plan_hash == job.plan_hash:
        check_early(plan, name, data)
    services().store.signals.send(job, name, data, by=caller().name, idempotency_key=idempotency_key)
