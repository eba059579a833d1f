"""Records of a task: its log line, its span, and the ids that its skill's log lines get."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from time import time
from typing import TYPE_CHECKING, Any

from avtomatika import tracing
from avtomatika.logs import log_ids

if TYPE_CHECKING:
    from .execution import TaskExecution

logger = logging.getLogger("avtomatika.tasks")


@contextmanager
def recorded(execution: "TaskExecution") -> Iterator[None]:
    """Run a task inside: its skill logs with the ids of the task, and its span is the current one."""
    task, context = execution.task, execution.task.tracing_context or {}
    sent_ms = str(context.get("sent_ms"))
    attributes = {
        "messaging.destination.name": task.task_type,
        "messaging.message.id": task.task_id,
        "avtomatika.job.id": task.job_id,
        "avtomatika.task.attempt": task.attempt,
        "avtomatika.worker.id": execution.worker_id,
    }
    if sent_ms.isdecimal():  # by the clocks of the server and of this host
        attributes["avtomatika.queue.wait_ms"] = max(0, round(time() * 1000) - int(sent_ms))
    parent, key = tracing.checked(context.get("traceparent")), (task.task_id, "attempt", task.attempt)
    span = tracing.begin("process", task.task_type, parent=parent, key=key, attributes=attributes)
    with log_ids(_ids(execution)), tracing.inside(span):
        yield
    fields = _outcome(execution)
    tracing.end(span, error=fields.get("error_code"), attributes={"avtomatika.outcome": fields["outcome"]})


def log_end(execution: "TaskExecution") -> None:
    """Log that a task has ended, with its outcome; nothing of its data."""
    if logger.isEnabledFor(logging.INFO):
        fields = _outcome(execution)
        parts = "%s: %s in %d ms" + (" (%s)" if "error_code" in fields else "")
        logger.info(parts, *fields.values(), extra=_ids(execution) | fields)


def _ids(execution: "TaskExecution") -> dict[str, Any]:
    task = execution.task
    ids = {"job_id": task.job_id, "task_id": task.task_id, "attempt": task.attempt, "worker_id": execution.worker_id}
    return ids | {"trace_id": tracing.trace_id((task.tracing_context or {}).get("traceparent"))}


def _outcome(execution: "TaskExecution") -> dict[str, Any]:
    """Return the skill, the outcome and the duration of a task, and the code of its error if it has one."""
    name, result = execution.skill.name, execution.result
    if result is None:
        return {"skill": name, "outcome": "failure", "duration_ms": 0, "error_code": "NO_RESULT"}
    fields = {"skill": name, "outcome": result.status, "duration_ms": result.duration_ms or 0}
    return fields if result.error is None else fields | {"error_code": str(result.error.get("code"))}
