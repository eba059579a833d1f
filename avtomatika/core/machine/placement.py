"""Placing: a task that asks something of its worker is routed to one, and to another where that one fails it.

While such a task is open, a ``PlaceTask`` comes back to its state again and again. Whoever brings it looks first
(``look``): only what changes something goes to the machine (``place``), with the choice that was made.

A task that names files only wishes for a worker that has them at hand: where there is none, or it fails the task,
anybody will do, and it is looked at no more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import assert_never

from avtomatika.core.events import PlaceTask
from avtomatika.core.job import HistoryEntry, Job, Task
from avtomatika.core.placement.cached_files import digests_in
from avtomatika.core.placement.selection import Candidate, Needs, NoCandidate, choose, nearest
from avtomatika.core.plan import Plan
from avtomatika.core.step import Outgoing, SendEvent, SendTask, Step

from .moves import ignore
from .timers import dispatch_timer, timers_of_task

#: How often it is looked at.
VISIT_SECONDS = 5.0
#: A worker that has not taken it by then is passed over.
TAKEN_WITHIN_VISITS = 6
#: The same where it was only wished for.
PREFERRED_WITHIN_VISITS = 1
#: A worker whose own fault it was that it refused a task is asked again after so many, if nobody else fits.
_FORGIVEN_EVERY_VISITS = 4
#: What is missing may change often; it is written down no more than once in so many visits.
_TOLD_EVERY_VISITS = 12


@dataclass(frozen=True, slots=True)
class Keep:
    """Everything may stay as it is: it is looked at again later."""


@dataclass(frozen=True, slots=True)
class AnyWorker:
    """Any worker will do."""


@dataclass(frozen=True, slots=True)
class Done:
    """Nobody waits for this attempt any more: it need not be looked at again."""


def send(plan: Plan, job: Job, task: Task) -> tuple[Outgoing, ...]:
    """What makes *task* go to work: itself, for any worker, or the word that one must be chosen."""
    if task.needs is None or (task.needs.is_preference and task.attempt > 1):
        return (SendTask(task),)
    return (_next(plan, job, task, PlaceTask(job.id, task.id, task.attempt)),)


def look(
    job: Job, event: PlaceTask, *, taken_by: str | None, fleet: Iterable[Candidate]
) -> Candidate | NoCandidate | AnyWorker | Keep | Done:
    """What is to be done about a task; *taken_by* has begun with it, *fleet* are those that are there now."""
    task = _open_attempt(job, event)
    if task is None or task.needs is None:
        return Done()
    members = list(fleet)
    if task.worker_id is not None:
        within_visits = PREFERRED_WITHIN_VISITS if task.needs.is_preference else TAKEN_WITHIN_VISITS
        is_there = any(
            member.worker_id == task.worker_id and not (member.is_unfit_for(task.task_type) and taken_by is None)
            for member in members
        )
        if is_there and (taken_by is not None or event.waited < within_visits):
            return Keep()
        return _choose_again(task, task.needs, members)
    if task.needs.is_preference:
        return nearest(digests_in(task.params), task.task_type, members) or AnyWorker()
    found = choose(task.needs, task.task_type, members)
    if isinstance(found, NoCandidate) and found.is_final:
        return found
    if (
        isinstance(found, NoCandidate)
        and task.needs.refused
        and event.visit % _FORGIVEN_EVERY_VISITS == _FORGIVEN_EVERY_VISITS - 1
    ):
        found = choose(_forgiving(task.needs), task.task_type, members)
    if isinstance(found, NoCandidate) and task.missing is not None:
        is_news = found.missing != task.missing and event.visit % _TOLD_EVERY_VISITS == 0
        return found if is_news else Keep()
    return found


def _forgiving(needs: Needs) -> Needs:
    """*needs* without the refusals that may have passed."""
    return replace(needs, refused={worker_id: False for worker_id, passes in needs.refused.items() if not passes})


def needs_cached_files(job: Job | None, event: PlaceTask) -> bool:
    """Whether :func:`look` must know what files workers have at hand."""
    task = None if job is None else _open_attempt(job, event)
    return task is not None and task.needs is not None and task.needs.is_preference and task.worker_id is None


def failed_worker(job: Job, event: PlaceTask, found: Candidate | NoCandidate | AnyWorker | Keep | Done) -> str | None:
    """The worker that a task is taken away from by what was *found*: it is lost, or did not begin in time.

    One that a task was only wished to go to has promised nothing.
    """
    task = _open_attempt(job, event)
    if task is None or task.needs is None or task.needs.is_preference or isinstance(found, Keep):
        return None
    return task.worker_id


def _choose_again(task: Task, needs: Needs, members: list[Candidate]) -> Candidate | NoCandidate | AnyWorker:
    """Its worker has failed it: that one comes last."""
    if needs.is_preference:
        return AnyWorker()
    found = choose(needs, task.task_type, [member for member in members if member.worker_id != task.worker_id])
    return choose(needs, task.task_type, members) if isinstance(found, NoCandidate) else found


def place(plan: Plan, job: Job, event: PlaceTask) -> Step:
    """Route a task as was chosen; without a choice (or where there is no fleet) it is for anybody."""
    task = _open_attempt(job, event)
    if task is None or task.needs is None:
        return ignore(job, event, "the job does not wait for this attempt any more")
    was_routed, needs = task.worker_id is not None, task.needs
    begun = _rerouted(plan, job, task) if was_routed else Step(job)
    task = begun.job.tasks[task.id]
    match event.choice:
        case None:
            anybodys = replace(task, needs=None)
            return begun.then(Step(_with(begun.job, anybodys), outgoing=(SendTask(anybodys),)))
        case Candidate(worker_id=worker_id):
            routed = replace(task, worker_id=worker_id, missing=None)
            entry = _entry("task_routed", routed, {"strategy": str(needs.strategy)}, worker_id=worker_id)
            following = replace(event, attempt=task.attempt, visit=event.visit + 1, waited=0, choice=None)
            outgoing = (SendTask(routed), _next(plan, job, task, following))
            return begun.then(Step(_with(begun.job, routed), history=(entry,), outgoing=outgoing))
        case NoCandidate(missing):
            waiting = replace(task, missing=missing)
            following = replace(event, attempt=task.attempt, visit=event.visit + 1, choice=None)
            return begun.then(
                Step(
                    _with(begun.job, waiting),
                    history=(_entry("task_waiting", waiting, {"missing": missing}),),
                    outgoing=(_next(plan, job, task, following),),
                )
            )
        case _:
            assert_never(event.choice)


def visited(event: PlaceTask) -> PlaceTask:
    """*event* as it comes back when everything stayed as it was."""
    return replace(event, visit=event.visit + 1, waited=event.waited + 1)


def _rerouted(plan: Plan, job: Job, task: Task) -> Step:
    """Its worker is lost, or did not take it in time: what that one may still answer is another attempt's."""
    again = replace(task, attempt=task.attempt + 1, max_retries=task.max_retries + 1, worker_id=None)
    return Step(
        _with(job, again),
        history=(_entry("task_rerouted", again, {}, worker_id=task.worker_id),),
        timers=dispatch_timer(plan, job, again),
        cancelled_timers=timers_of_task(task),
        opened=((again.id, again.attempt),),
        closed=((task.id, task.attempt),),
        revoked=(task.attempt_group,),
    )


def _open_attempt(job: Job, event: PlaceTask) -> Task | None:
    task = job.tasks.get(event.task_id)
    return task if task is not None and task.is_open and task.attempt == event.attempt else None


def _next(plan: Plan, job: Job, task: Task, event: PlaceTask) -> SendEvent:
    return SendEvent(plan.key(task.state, "_retry"), event)


def _with(job: Job, task: Task) -> Job:
    return job.evolve(tasks={**job.tasks, task.id: task})


def _entry(event_type: str, task: Task, data: dict[str, str], *, worker_id: str | None = None) -> HistoryEntry:
    return HistoryEntry(
        event_type,
        state=task.state,
        task_id=task.id,
        attempt=task.attempt,
        worker_id=worker_id,
        data=data or None,
    )
