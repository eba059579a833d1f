"""Bounds: what is taken of workers that may do some skills and no others.

Which skill a task is for is what its record in its job says, whatever a message claims.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from avtomatika.core.job import branch_of
from avtomatika.schemas import wire
from avtomatika.schemas.worker_status import within
from avtomatika.store import Store, WantedBranches

#: The id of a job, and of one of its tasks.
TaskKey = tuple[str, str]


def task_types(tasks: Iterable[TaskKey], *, store: Store) -> dict[TaskKey, str]:
    """The skill that each of *tasks* is for. One that its job does not wait for is left out: what is said of it moves
    nothing."""
    by_job: dict[str, set[str]] = {}
    for job_id, task_id in tasks:
        by_job.setdefault(job_id, set()).add(task_id)
    if not by_job:
        return {}
    jobs = [job for job in store.load_many(list(by_job)) if job is not None]
    fan_outs = []
    for job in jobs:
        if job.fan_out is not None:
            prefix = f"{job.id}.{job.fan_out.step}."
            numbers = {branch_of(task_id) for task_id in by_job[job.id] if task_id.startswith(prefix)}
            fan_outs.append(WantedBranches(job, sorted(numbers), answers=False))
    if fan_outs:
        jobs += [loaded.job for loaded in store.load_branches(fan_outs)]
    return {(job.id, task.id): task.task_type for job in jobs for task in job.tasks.values()}


def tasks_of(notice: wire.Notice) -> list[TaskKey]:
    """The tasks that *notice* is about."""
    match notice:
        case wire.Begun():
            return [(taken.job_id, taken.task_id) for taken in notice.taken]
        case wire.Taken() | wire.Progress():
            return [(notice.job_id, notice.task_id)]
        case _:
            return []


def narrowed(notice: wire.Notice, skills: Collection[str], types: Mapping[TaskKey, str]) -> wire.Notice | None:
    """What is heard of *notice*, which is by a worker that may do *skills* alone; None where that is nothing.

    *types* are as :func:`task_types` has them.
    """
    match notice:
        case wire.Registered():
            return replace(notice, record=within(notice.record, skills))
        case wire.Begun():
            return replace(notice, tasks=[row for row in notice.tasks if types.get((row[0], row[1])) in skills])
        case wire.Taken() | wire.Progress():
            return notice if types.get((notice.job_id, notice.task_id)) in skills else None
        case _:
            return notice
