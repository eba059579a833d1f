"""Placement of tasks with requirements: routes a task to a worker, and to another one if that worker fails.

While such a task is open, a ``PlaceTask`` event is delivered to its state periodically. ``look`` checks first; only an
event that changes something reaches ``place``, with the choice.

A task that names files only prefers workers that have them cached. If there is none, or it fails, any worker may take
the task, and it is not checked again.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from enum import Enum
from typing import assert_never

from avtomatika.core.events import PlaceTask
from avtomatika.core.job import HistoryEntry, Job, Json, Task
from avtomatika.core.placement.cached_files import digests_in
from avtomatika.core.placement.selection import Candidate, Needs, NoCandidate, choose, nearest
from avtomatika.core.plan import Plan
from avtomatika.core.step import Outgoing, SendEvent, SendTask, Step
from avtomatika.errors import InvalidRequestError

from .moves import error, ignore
from .timers import dispatch_timer, timers_of_task

#: Seconds between checks.
VISIT_SECONDS = 5.0
#: Checks after which a worker that has not taken its task is replaced.
TAKEN_WITHIN_VISITS = 6
#: The same for a worker that was only preferred.
PREFERRED_WITHIN_VISITS = 1
#: Checks after which a worker that refused a task for a fault of its own is considered again, if no other fits.
_FORGIVEN_EVERY_VISITS = 4
#: A changed reason is recorded at most once in this number of checks.
_TOLD_EVERY_VISITS = 12


class Look(Enum):
    """Decision on a task for which no worker was chosen."""

    KEEP = "change nothing; check again later"
    ANY_WORKER = "any worker may take the task"
    DONE = "the job no longer waits for this attempt; stop checking"


def send(plan: Plan, job: Job, task: Task) -> tuple[Outgoing, ...]:
    """Send *task*: to any worker, or as a request to choose one."""
    if task.needs is None or (task.needs.is_preference and task.attempt > 1):
        return (SendTask(task, limits_of(plan, job, task)),)
    return (_next(plan, job, task, PlaceTask(job.id, task.id, task.attempt)),)


def limits_of(plan: Plan, job: Job, task: Task) -> tuple[Json, ...]:
    """Return the limits of *task*: name and values of each."""
    found: list[Json] = []
    for key, values in plan.states[task.state].limits if task.state in plan.states else ():
        with suppress(InvalidRequestError):  # of a retry: code deployed since may read data that the job does not have
            found.append([f"key:{key.render(vars(job))}", values.on_wire()])
    if job.fan_out is not None and job.fan_out.max_concurrency is not None:
        found.append([f"fan-out:{task.group}", {"concurrency": job.fan_out.max_concurrency}])
    return tuple(found)


def limit_problem(plan: Plan, job: Job) -> dict[str, Json] | None:
    """Return the error of a job without the data that the limits of its state read."""
    try:
        for key, _ in plan.states[str(job.current_state)].limits:
            key.render(vars(job))
    except InvalidRequestError as problem:
        return error("INVALID_LIMIT_KEY", f"the limit of the tasks of state {job.current_state!r}: {problem}")
    return None


def look(
    job: Job, event: PlaceTask, *, taken_by: str | None, fleet: Iterable[Candidate]
) -> Candidate | NoCandidate | Look:
    """Return what to do about a task; *taken_by* is the worker that runs it, *fleet* are the workers that are
    online."""
    task = job.open_attempt(event.task_id, event.attempt)
    if task is None or task.needs is None:
        return Look.DONE
    members = list(fleet)
    if task.worker_id is not None:
        within_visits = PREFERRED_WITHIN_VISITS if task.needs.is_preference else TAKEN_WITHIN_VISITS
        is_there = any(
            member.worker_id == task.worker_id and not (member.is_unfit_for(task.task_type) and taken_by is None)
            for member in members
        )
        if is_there and (taken_by is not None or event.waited < within_visits):
            return Look.KEEP
        return _choose_again(task, task.needs, members)
    if task.needs.is_preference:
        return nearest(digests_in(task.params), task.task_type, members) or Look.ANY_WORKER
    found = choose(task.needs, task.task_type, members)
    if isinstance(found, Candidate) or found.is_final:
        return found
    if task.needs.refused and event.visit % _FORGIVEN_EVERY_VISITS == _FORGIVEN_EVERY_VISITS - 1:
        final = {worker_id: False for worker_id, may_pass in task.needs.refused.items() if not may_pass}
        found = choose(replace(task.needs, refused=final), task.task_type, members)
    if isinstance(found, NoCandidate) and task.missing is not None:
        is_news = found.missing != task.missing and event.visit % _TOLD_EVERY_VISITS == 0
        return found if is_news else Look.KEEP
    return found


def needs_cached_files(job: Job | None, event: PlaceTask) -> bool:
    """Return True if :func:`look` needs the files that workers have cached."""
    task = None if job is None else job.open_attempt(event.task_id, event.attempt)
    return task is not None and task.needs is not None and task.needs.is_preference and task.worker_id is None


def failed_worker(job: Job, event: PlaceTask, found: Candidate | NoCandidate | Look) -> str | None:
    """Return the worker that *found* takes a task away from, because it is lost or did not start in time.

    A worker that was only preferred has not failed.
    """
    task = job.open_attempt(event.task_id, event.attempt)
    if task is None or task.needs is None or task.needs.is_preference or found is Look.KEEP:
        return None
    return task.worker_id


def _choose_again(task: Task, needs: Needs, members: list[Candidate]) -> Candidate | NoCandidate | Look:
    """Choose another worker, or the same one if there is no other."""
    if needs.is_preference:
        return Look.ANY_WORKER
    found = choose(needs, task.task_type, [member for member in members if member.worker_id != task.worker_id])
    return choose(needs, task.task_type, members) if isinstance(found, NoCandidate) else found


def place(plan: Plan, job: Job, event: PlaceTask) -> Step:
    """Route a task as chosen; without a choice, to any worker."""
    task = job.open_attempt(event.task_id, event.attempt)
    if task is None or task.needs is None:
        return ignore(job, event, "the job does not wait for this attempt any more")
    was_routed, needs = task.worker_id is not None, task.needs
    begun = _rerouted(plan, job, task) if was_routed else Step(job)
    task = begun.job.tasks[task.id]
    match event.choice:
        case None:
            anybodys = replace(task, needs=None)
            return begun.then(
                Step(_with(begun.job, anybodys), outgoing=(SendTask(anybodys, limits_of(plan, job, task)),))
            )
        case Candidate(worker_id=worker_id):
            routed = replace(task, worker_id=worker_id, missing=None)
            entry = HistoryEntry.of_task("task_routed", routed, {"strategy": str(needs.strategy)}, worker_id=worker_id)
            following = replace(event, attempt=task.attempt, visit=event.visit + 1, waited=0, choice=None)
            sent = (SendTask(routed, limits_of(plan, job, task)), _next(plan, job, task, following))
            return begun.then(Step(_with(begun.job, routed), history=(entry,), outgoing=sent))
        case NoCandidate(missing):
            waiting = replace(task, missing=missing)
            entry = HistoryEntry.of_task("task_waiting", waiting, {"missing": missing})
            following = replace(event, attempt=task.attempt, visit=event.visit + 1, choice=None)
            again = _next(plan, job, task, following)
            return begun.then(Step(_with(begun.job, waiting), history=(entry,), outgoing=(again,)))
        case _:
            assert_never(event.choice)


def visited(event: PlaceTask) -> PlaceTask:
    """Return *event* for the next check."""
    return replace(event, visit=event.visit + 1, waited=event.waited + 1)


def _rerouted(plan: Plan, job: Job, task: Task) -> Step:
    """Take the task away from its worker: a result of that worker is one of an earlier attempt."""
    again = replace(task, attempt=task.attempt + 1, max_retries=task.max_retries + 1, worker_id=None)
    return Step(
        _with(job, again),
        history=(HistoryEntry.of_task("task_rerouted", again, worker_id=task.worker_id),),
        timers=dispatch_timer(plan, job, again),
        cancelled_timers=timers_of_task(task),
        opened=((again.id, again.attempt),),
        closed=((task.id, task.attempt),),
        revoked=(task.attempt_group,),
    )


def _next(plan: Plan, job: Job, task: Task, event: PlaceTask) -> SendEvent:
    return SendEvent(plan.key(task.state, "_retry"), event)


def _with(job: Job, task: Task) -> Job:
    return job.evolve(tasks={**job.tasks, task.id: task})
