"""Records of a step: its log line, its span, and the ids that its handlers' log lines get."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from avtomatika import tracing
from avtomatika.core.events import Event, Joined, Result
from avtomatika.core.job import Job
from avtomatika.logs import log_ids

logger = logging.getLogger("avtomatika.jobs")


def begin_step(job: Job, events: Iterable[Event]) -> Any:
    """Begin the span of the next step of *job*, with links to the tasks that led to *events*; None without tracing."""
    if job.traceparent is None:
        return None
    attributes = {
        "messaging.destination.name": f"steps.{job.blueprint}@{job.plan_hash}",
        "avtomatika.job.id": job.id,
        "avtomatika.state.from": str(job.current_state),
    }
    links = (key for event in events for key in _tasks(job, event))
    name, key = f"steps.{job.blueprint}", (job.id, job.version + 1)
    return tracing.begin("process", name, parent=job.traceparent, key=key, links=links, attributes=attributes)


def end_step(before: Job, after: Job, event: Event, span: Any) -> None:
    """End the span of a committed step that *event* led to, and log the transition, if it is one."""
    outcome = event.status if isinstance(event, Result) else type(event).__name__
    fields = {"from": before.current_state, "to": after.current_state, "status": str(after.status), "outcome": outcome}
    error = None if after.error is None or before.error == after.error else str(after.error.get("code"))
    tracing.end(span, error=error, attributes={f"avtomatika.{name}": str(value) for name, value in fields.items()})
    is_transition = (before.current_state, before.status) != (after.current_state, after.status)
    if is_transition and logger.isEnabledFor(logging.INFO):
        name = after.skill or after.blueprint
        logger.info("%s: %s -> %s, %s (%s)", name, *fields.values(), extra=_ids(after) | fields | {"blueprint": name})


def recorded(call: Callable[[], Any], job: Job, span: Any, *, is_async: bool) -> Callable[[], Any]:
    """Return *call*, that of a handler, so that it logs with the ids of *job*, and *span* is the current one."""

    def run() -> Any:
        with log_ids(_ids(job)), tracing.inside(span):
            return call()

    async def run_async() -> Any:
        with log_ids(_ids(job)), tracing.inside(span):
            return await call()

    return run_async if is_async else run


def _ids(job: Job) -> dict[str, Any]:
    return {"job_id": job.id, "trace_id": tracing.trace_id(job.traceparent)}


def _tasks(job: Job, event: Event) -> Sequence[tracing.Key]:
    """Return the keys of the spans of the tasks that led to *event*: for a fan-out, the first attempts."""
    if isinstance(event, Result):
        return [(event.task_id, "attempt", event.attempt)]
    size = job.fan_out.size if isinstance(event, Joined) and job.fan_out is not None else 0
    return [(f"{job.id}.{event.step}.{branch}", "attempt", 1) for branch in range(1, size + 1)]  # type: ignore[union-attr]
