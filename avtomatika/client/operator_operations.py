"""The operations of the HTTP API for operators; ForbiddenError for other clients."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from . import answers
from .steps import Request, Steps, json_answer, json_items, json_object


def workers() -> Steps[list[answers.WorkerInfo]]:
    """List the workers that reported lately. For operators."""
    return json_items(answers.WorkerInfo, "workers", Request("GET", "/api/v1/workers"))


def worker(worker_id: str) -> Steps[answers.WorkerInfo]:
    """Return a worker and what it does. For operators."""
    return json_answer(answers.WorkerInfo, Request("GET", _worker_path(worker_id)))


def drain_worker(worker_id: str) -> Steps[None]:
    """Let a worker finish its tasks and take no new ones until it is resumed, also after a restart. For operators."""
    yield Request("POST", f"{_worker_path(worker_id)}/drain")


def resume_worker(worker_id: str) -> Steps[None]:
    """Let a drained worker take tasks again. For operators."""
    yield Request("POST", f"{_worker_path(worker_id)}/resume")


def revoke_worker(worker_id: str) -> Steps[None]:
    """Reject all requests, messages and results of a worker until it is allowed again. For operators."""
    yield Request("POST", f"{_worker_path(worker_id)}/revoke")


def allow_worker(worker_id: str) -> Steps[None]:
    """Let a revoked worker authenticate again. For operators."""
    yield Request("POST", f"{_worker_path(worker_id)}/allow")


def scaling(skill: str, *, target_seconds: float = 10, slots_per_worker: int = 0) -> Steps[answers.Scaling]:
    """Return how many workers *skill* needs for 95 % of its tasks to wait at most *target_seconds*. For operators."""
    query = {"skill": skill, "target_seconds": target_seconds, "slots_per_worker": slots_per_worker}
    return json_answer(answers.Scaling, Request("GET", "/api/v1/scaling", query))


def queues() -> Steps[list[answers.QueueInfo]]:
    """List the queues and their message counts by name. For operators."""
    return json_items(answers.QueueInfo, "queues", Request("GET", "/api/v1/queues"))


def messages(queue: str, *, limit: int = 20) -> Steps[list[answers.QueuedMessage]]:
    """List the messages that wait in a queue, the next one first, without removing them. For operators."""
    path = f"{_queue_path(queue)}/messages"
    return json_items(answers.QueuedMessage, "messages", Request("GET", path, {"limit": limit}))


def purge(queue: str) -> Steps[int]:
    """Delete the messages that wait in a queue and return their number. Their jobs are not notified. For operators."""
    answer = yield from json_object(Request("DELETE", f"{_queue_path(queue)}/messages"))
    return int(answer["removed"])


def pause_queue(queue: str) -> Steps[answers.QueueInfo]:
    """Let no consumer take from a queue until it is resumed; its messages wait in order. For operators."""
    return json_answer(answers.QueueInfo, Request("POST", f"{_queue_path(queue)}/pause"))


def resume_queue(queue: str) -> Steps[answers.QueueInfo]:
    """Let consumers take from a paused queue again. For operators."""
    return json_answer(answers.QueueInfo, Request("POST", f"{_queue_path(queue)}/resume"))


def limits() -> Steps[list[answers.LimitInfo]]:
    """List the limits of tasks that are defined, paused or in use. For operators."""
    return json_items(answers.LimitInfo, "limits", Request("GET", "/api/v1/limits"))


def limit(kind: str, name: str) -> Steps[answers.LimitInfo]:
    """Return the limit of a ``skill``, ``blueprint``, ``client`` or ``key`` (its *kind*). For operators."""
    return json_answer(answers.LimitInfo, Request("GET", _limit_path(kind, name)))


def set_limit(
    kind: str, name: str, *, concurrency: int | None = None, rate: str | None = None
) -> Steps[answers.LimitInfo]:
    """Let at most *concurrency* tasks run at a time, and *rate* start (``100/m``), on all workers. For operators."""
    wanted = {"concurrency": concurrency, "rate": rate}
    return json_answer(answers.LimitInfo, Request("PUT", _limit_path(kind, name), json=wanted))


def remove_limit(kind: str, name: str) -> Steps[None]:
    """Remove the values of a limit; a pause stays. For operators."""
    yield Request("DELETE", _limit_path(kind, name))


def pause_limit(kind: str, name: str) -> Steps[answers.LimitInfo]:
    """Start no tasks of a skill, blueprint, client or key until it is resumed. For operators."""
    return json_answer(answers.LimitInfo, Request("POST", f"{_limit_path(kind, name)}/pause"))


def resume_limit(kind: str, name: str) -> Steps[answers.LimitInfo]:
    """Let tasks of a skill, blueprint, client or key start again. For operators."""
    return json_answer(answers.LimitInfo, Request("POST", f"{_limit_path(kind, name)}/resume"))


def schedules(*, ticks: int = 1) -> Steps[list[answers.ScheduleInfo]]:
    """List the schedules by name, each with its next *ticks*. For operators."""
    return json_items(answers.ScheduleInfo, "schedules", Request("GET", "/api/v1/schedules", {"ticks": ticks}))


def schedule(name: str, *, ticks: int = 1) -> Steps[answers.ScheduleInfo]:
    """Return a schedule with its next *ticks*. For operators."""
    return json_answer(answers.ScheduleInfo, Request("GET", _schedule_path(name), {"ticks": ticks}))


def put_schedule(name: str, definition: Mapping[str, Any]) -> Steps[answers.ScheduleInfo]:
    """Add a schedule or replace its definition: ``{"blueprint": "report", "cron": "0 7 * * 1-5"}``. For operators."""
    return json_answer(answers.ScheduleInfo, Request("PUT", _schedule_path(name), json=definition))


def remove_schedule(name: str) -> Steps[None]:
    """Remove a schedule; its jobs stay. For operators."""
    yield Request("DELETE", _schedule_path(name))


def pause_schedule(name: str) -> Steps[answers.ScheduleInfo]:
    """Pause a schedule: its ticks are left out until it is resumed. For operators."""
    return json_answer(answers.ScheduleInfo, Request("POST", f"{_schedule_path(name)}/pause"))


def resume_schedule(name: str) -> Steps[answers.ScheduleInfo]:
    """Resume a paused schedule from its next tick. For operators."""
    return json_answer(answers.ScheduleInfo, Request("POST", f"{_schedule_path(name)}/resume"))


def run_schedule(name: str) -> Steps[answers.SubmittedJob]:
    """Run a schedule now. For operators."""
    return json_answer(answers.SubmittedJob, Request("POST", f"{_schedule_path(name)}/run"))


def backfill(name: str, start: datetime, end: datetime, *, dry_run: bool = False) -> Steps[list[answers.ScheduledRun]]:
    """Run the ticks from *start* to *end* that have not run, or list them with *dry_run*. For operators."""
    wanted = {"from": start.isoformat(), "to": end.isoformat(), "dry_run": dry_run}
    return json_items(answers.ScheduledRun, "runs", Request("POST", f"{_schedule_path(name)}/backfill", json=wanted))


def dead_letters(*, queue: str | None = None, limit: int = 50) -> Steps[list[answers.DeadLetter]]:
    """List dead-lettered messages, newest first. For operators."""
    return json_items(
        answers.DeadLetter, "dead_letters", Request("GET", "/api/v1/dead-letters", {"queue": queue, "limit": limit})
    )


def dead_letter(letter_id: str) -> Steps[answers.DeadLetter]:
    """Return a dead letter with its body. For operators."""
    return json_answer(answers.DeadLetter, Request("GET", _letter_path(letter_id)))


def requeue_dead_letter(letter_id: str) -> Steps[answers.DeadLetter]:
    """Put a dead letter back into its queue with its delivery count reset, and return it. For operators."""
    return json_answer(answers.DeadLetter, Request("POST", f"{_letter_path(letter_id)}/requeue"))


def drop_dead_letter(letter_id: str) -> Steps[None]:
    """Delete a dead letter. For operators."""
    yield Request("DELETE", _letter_path(letter_id))


def overview() -> Steps[answers.Overview]:
    """Return what happens now, what happened in the last hour and day, and what is wrong. For operators."""
    return json_answer(answers.Overview, Request("GET", "/api/v1/overview"))


def doctor() -> Steps[list[answers.Finding]]:
    """Check the server, secrets and tokens of the installation. For operators."""
    return json_items(answers.Finding, "findings", Request("GET", "/api/v1/doctor"))


def _worker_path(worker_id: str) -> str:
    return f"/api/v1/workers/{quote(worker_id, safe='')}"


def _queue_path(queue: str) -> str:
    return f"/api/v1/queues/{quote(queue, safe='')}"


def _limit_path(kind: str, name: str) -> str:
    return f"/api/v1/limits/{quote(kind, safe='')}/{quote(name, safe='')}"


def _letter_path(letter_id: str) -> str:
    return f"/api/v1/dead-letters/{quote(letter_id, safe='')}"


def _schedule_path(name: str) -> str:
    return f"/api/v1/schedules/{quote(name, safe='')}"
