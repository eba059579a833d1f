"""Tasks as they are dispatched: the handler's arguments with the defaults of the job."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from hashlib import sha256

import orjson

from avtomatika.core.blueprint.action_types import DispatchTask
from avtomatika.core.job import HistoryEntry, Job, JobStatus, Json, Task
from avtomatika.core.placement.cached_files import names_files
from avtomatika.core.placement.selection import NEARBY, Needs
from avtomatika.core.plan import Plan
from avtomatika.core.retry import RetryPolicy
from avtomatika.core.rules import Rules
from avtomatika.core.step import Step

from .placement import send
from .timers import dispatch_timer

#: Validated once instead of for every task.
_usual = lru_cache(maxsize=16)(RetryPolicy)


def new_task(job: Job, action: DispatchTask, *, branch: int = 0, retry: RetryPolicy) -> Task:
    """Return a task of the current step, *branch* from 1 in a fan-out; *retry* is the default policy."""
    policy = action.retry or retry
    return Task(
        id=f"{job.id}.{job.steps}.{branch}",
        task_type=action.task_type,
        state=str(job.current_state),
        transitions=action.transitions,
        params=action.params,
        max_retries=given(action.max_retries, policy.max_retries),
        priority=given(action.priority, job.priority),
        dispatch_timeout_seconds=given(action.dispatch_timeout_seconds, job.dispatch_timeout_seconds),
        result_timeout_seconds=given(action.result_timeout_seconds, job.result_timeout_seconds),
        output_schema=action.output_schema,
        retry=None if policy.backs_off_as_usual else policy,
        needs=action.needs or preference_of(action.params),
    )


def preference_of(params: Mapping[str, Json]) -> Needs | None:
    """Return the preference of a task that names files for workers that have cached them."""
    return NEARBY if names_files(params) else None


def retry_of(plan: Plan, rules: Rules) -> RetryPolicy:
    """Return the default retry policy of tasks of *plan*."""
    return plan.retry or _usual(rules.max_retries)


def open_task(plan: Plan, job: Job, task: Task, **changes: Json) -> Step:
    """Publish *task* and wait for it, with other *changes* of the job."""
    if task.needs is not None:
        task = replace(task, worker_id=None, missing=None)
    status = JobStatus.WAITING_FOR_WORKER if job.fan_out is None else JobStatus.WAITING_FOR_PARALLEL
    job = job.evolve(status=status, tasks={**job.tasks, task.id: task}, **changes)
    return Step(
        job,
        history=(dispatched(task),),
        outgoing=send(plan, job, task),
        timers=dispatch_timer(plan, job, task),
        opened=((task.id, task.attempt),),
    )


def dispatched(task: Task) -> HistoryEntry:
    """Return the history entry of a dispatch, or of the start of a child job."""
    digest = {"digest": digest_of(task)} if task.branch else {}
    if task.blueprint is not None:
        started = {"child_id": task.child_id, "blueprint": task.blueprint, **digest}
        return HistoryEntry.of_task("child_started", task, started)
    return HistoryEntry.of_task("task_dispatched", task, {"task_type": task.task_type, **digest})


def digest_of(task: Task) -> str:
    """Return a digest of the skill or blueprint of *task* and its params; a retry repeats branches with another one."""
    runs = [task.blueprint, task.task_type, task.params]
    return sha256(orjson.dumps(runs, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def kept_result(kept: Mapping[str, Json], task: Task) -> Json:
    """Return the result of the branch *task* among *kept*; None if there is none, or its params were others."""
    digest, result = kept.get(str(task.branch), (None, None))
    return result if digest in (None, digest_of(task)) else None


def given(value: Json, default: Json) -> Json:
    """Return *value*, or *default* if it is None."""
    return default if value is None else value
