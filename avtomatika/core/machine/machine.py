"""The state machine: (plan, job, event) -> Step.

Pure, so that tests/core/machine/test_machine.py can check every (status, event) pair. A step whose ``enter`` names a
state is incomplete: the handler of that state must decide, and the step of its decision (:mod:`.decisions`) is added
with ``then``.
"""

from typing import assert_never

from avtomatika.core import events
from avtomatika.core.events import Event
from avtomatika.core.job import HistoryEntry, Job, JobStatus
from avtomatika.core.placement.selection import NoCandidate
from avtomatika.core.plan import Plan
from avtomatika.core.rules import Rules
from avtomatika.core.step import Step

from . import fan_out, placement, signals, single_task, task_results, waits
from .moves import end, enter_state, error, ignore, quarantine

#: The default rules.
_RULES = Rules()


#: Events of branches, which a fan-out with its first success ignores.
_OF_BRANCHES = events.Result | events.RetryTask | events.PlaceTask | events.TaskTimeout | events.NextBranches


def advance(plan: Plan, job: Job, event: Event, *, queue: str | None, rules: Rules = _RULES) -> Step:
    """Return the effect of *event* on *job*.

    *queue* is the full name of the step queue that delivered the event; None without a broker, when every state is
    handled locally. A late, repeated or foreign event returns a step with only a ``note``.
    """
    if job.status.is_final or (
        job.status is JobStatus.QUARANTINED and not isinstance(event, events.Signal | events.DeadlineExceeded)
    ):
        return ignore(job, event, f"the job is {job.status}")
    if job.fan_out is not None and job.fan_out.is_decided and isinstance(event, _OF_BRANCHES):
        return ignore(job, event, "another branch succeeded first")
    match event:
        case events.Start():
            return _start(plan, job, event, queue=queue)
        case events.Enter():
            return _enter(job, event)
        case events.Result():
            return task_results.result(plan, job, event, queue=queue)
        case events.RetryTask():
            return task_results.retry(plan, job, event)
        case events.PlaceTask():
            is_final = isinstance(event.choice, NoCandidate) and event.choice.is_final
            return (
                task_results.refused_by_all(plan, job, event, queue=queue)
                if is_final
                else placement.place(plan, job, event)
            )
        case events.TaskTimeout():
            return task_results.timeout(plan, job, event, queue=queue)
        case events.RetryHandler():
            return _retry_handler(job, event)
        case events.Joined():
            return fan_out.joined(plan, job, event, queue=queue)
        case events.NextBranches():
            return fan_out.next_branches(plan, job, event, rules)
        case events.CancelChildren():
            return ignore(job, event, "the orchestrator cancels the children itself")
        case events.TimeReached():
            return waits.time_reached(plan, job, event, queue=queue)
        case events.Decision():
            return waits.decided(plan, job, event, queue=queue)
        case events.SignalReceived():
            return signals.received(plan, job, event, queue=queue)
        case events.ChildEnded():
            return waits.child_ended(plan, job, event, queue=queue)
        case events.ChildQuarantined():
            return waits.child_quarantined(job, event)
        case events.DeadlineExceeded():
            return _deadline(job)
        case events.DeadLetter():
            return _dead_letter(plan, job, event, queue=queue)
        case events.Signal():
            return _signal(plan, job, event, queue=queue)
        case _:
            assert_never(event)


def _start(plan: Plan, job: Job, event: events.Start, *, queue: str | None) -> Step:
    if job.status is not JobStatus.PENDING:
        return ignore(job, event, "the job has already started")
    return _enter_or_dispatch(plan, job, job.current_state or plan.start, queue=queue)


def _enter(job: Job, event: events.Enter) -> Step:
    if (event.state, event.transition) != _place(job) or job.handler_failures:
        return ignore(job, event, "the job is not on its way to this state")
    return Step(job, enter=event.state)


def _retry_handler(job: Job, event: events.RetryHandler) -> Step:
    if (event.state, event.transition) != _place(job) or event.failures != job.handler_failures:
        return ignore(job, event, "this handler does not wait to be tried again")
    return Step(job, enter=event.state)


def _place(job: Job) -> tuple[str, int] | None:
    """Return the state that a job is about to enter, and the number of states entered before; None if it waits in a
    state."""
    if job.status is not JobStatus.RUNNING or job.current_state is None:
        return None
    return job.current_state, job.transitions


def _deadline(job: Job) -> Step:
    problem = error("DEADLINE_EXCEEDED", f"the job did not end within {job.execution_timeout_seconds} s")
    return end(job, JobStatus.FAILED, {"error": problem}, error=problem)


def _dead_letter(plan: Plan, job: Job, event: events.DeadLetter, *, queue: str | None) -> Step:
    if event.task_id is not None:
        return task_results.dead_letter(plan, job, event, queue=queue)
    if event.state != job.current_state:
        return ignore(job, event, "the job is in another state")
    problem = error("DEAD_LETTER", f"a step message of {event.state!r} was dead-lettered: {event.reason}")
    return quarantine(job, problem, event.details)


def _signal(plan: Plan, job: Job, event: events.Signal, *, queue: str | None) -> Step:
    if event.wish == "cancel":
        return end(job, JobStatus.CANCELLED, {"by": event.by})
    if job.status is not JobStatus.QUARANTINED or job.current_state is None:
        return ignore(job, event, f"the job is {job.status}, not quarantined")
    if event.wish == "expire":
        return _expire(job, event)
    resumed = HistoryEntry("job_resumed", state=job.current_state, data={"by": event.by})
    return Step(job, history=(resumed,)).then(
        _enter_or_dispatch(plan, job.evolve(error=None), job.current_state, queue=queue)
    )


def _enter_or_dispatch(plan: Plan, job: Job, state: str, *, queue: str | None) -> Step:
    """Continue in *state*; a single task has no handler that decides."""
    if plan.states[state].ends_with_task:
        return single_task.dispatch(plan, job)
    return enter_state(plan, job, state, queue=queue)


def _expire(job: Job, event: events.Signal) -> Step:
    if event.token != expiry_token(job):
        return ignore(job, event, "the job has changed since")
    reason = (job.error or {}).get("message", "no reason")
    problem = error("QUARANTINE_EXPIRED", f"it was neither retried nor cancelled in time: {reason}")
    return end(job, JobStatus.FAILED, {"error": problem}, error=problem)


def expiry_token(job: Job) -> str:
    """Return the token of the signal that ends the quarantine of this version of *job*."""
    return f"{job.id}:{job.version}"
