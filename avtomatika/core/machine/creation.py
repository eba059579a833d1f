"""Creation of jobs."""

from __future__ import annotations

from collections.abc import Mapping

from avtomatika.core.events import Start
from avtomatika.core.job import HistoryEntry, Job, Json, Parent
from avtomatika.core.plan import Plan
from avtomatika.core.step import SendEvent, Step

from .tasks import given
from .timers import deadline_timer


def new_job(
    plan: Plan,
    *,
    job_id: str,
    client: str,
    initial_data: Mapping[str, Json],
    priority: int = 0,
    labels: Mapping[str, str] | None = None,
    webhook_url: str | None = None,
    retry_of: str | None = None,
    parent: Parent | None = None,
    dispatch_timeout_seconds: float | None = None,
    result_timeout_seconds: float | None = None,
    execution_timeout_seconds: float | None = None,
) -> Step:
    """Return the first step of a job: version 0, its first history entry, and the message that starts it."""
    job = Job(
        id=job_id,
        blueprint=plan.blueprint,
        plan_hash=plan.plan_hash,
        current_state=plan.start,
        client=client,
        initial_data=initial_data,
        priority=priority,
        labels=labels or {},
        webhook_url=webhook_url,
        retry_of=retry_of,
        parent=parent,
        dispatch_timeout_seconds=dispatch_timeout_seconds,
        result_timeout_seconds=result_timeout_seconds,
        execution_timeout_seconds=given(execution_timeout_seconds, plan.execution_timeout_seconds),
    )
    data: dict[str, Json] = {"client": client, "plan": plan.plan_hash}
    if retry_of is not None:
        data["retry_of"] = retry_of
    if parent is not None:
        data["parent_id"] = parent.job_id
    if job.execution_timeout_seconds is not None:
        data["execution_timeout"] = job.execution_timeout_seconds
    return Step(
        job,
        history=(HistoryEntry("job_created", state=plan.start, data=data),),
        outgoing=(SendEvent(plan.key(plan.start, "_start"), Start(job_id)),),
        timers=deadline_timer(plan, job),
    )
