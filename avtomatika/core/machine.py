"""The state machine: (plan, job, event) -> Step, and (plan, job, what a handler decided) -> Step.

The only place where a job changes. Pure, so that tests/core/test_machine.py can walk every (status, event) pair. A step
whose ``enter`` names a state is half a step: its handler must decide, and what it decides is added with ``then``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

from . import results
from .actions import Action, DispatchTask, End, GoTo
from .events import DeadLetter, Enter, Event, Result, RetryHandler, RetryTask, Signal, Start, TaskTimeout
from .job import HistoryEntry, Job, JobStatus, Json, Task
from .moves import end, error, go_on, ignore, quarantine
from .plan import EndKind, Plan
from .retry import RetryPolicy
from .step import SendEvent, Step
from .timers import handler_timer

#: How often a task is tried again where neither the handler nor the job says so.
MAX_RETRIES = 3
#: How many states a job may enter, so that one that goes round in circles comes to an end.
MAX_TRANSITIONS = 100
#: Quicker than a task's: a handler that raises holds up nobody but its own job.
_HANDLER_RETRIES = RetryPolicy(base_seconds=0.5, jitter=0)


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
    dispatch_timeout_seconds: float | None = None,
    result_timeout_seconds: float | None = None,
) -> Step:
    """The birth of a job: version 0, its first history entry, and the message that starts it."""
    job = Job(
        id=job_id,
        blueprint=plan.blueprint,
        plan8=plan.plan8,
        current_state=plan.start,
        client=client,
        initial_data=initial_data,
        priority=priority,
        labels=labels or {},
        webhook_url=webhook_url,
        retry_of=retry_of,
        dispatch_timeout_seconds=dispatch_timeout_seconds,
        result_timeout_seconds=result_timeout_seconds,
    )
    data = {"client": client, "plan": plan.plan8} | ({} if retry_of is None else {"retry_of": retry_of})
    entry = HistoryEntry("job_created", state=plan.start, data=data)
    return Step(job, history=(entry,), outgoing=(SendEvent(plan.key(plan.start, "_start"), Start(job_id)),))


def advance(plan: Plan, job: Job, event: Event, *, here: str | None) -> Step:
    """What *event* does to *job*.

    *here* is the full name of the step queue that the event came by; None where no broker is in between and every state
    is at hand. What has no effect (late, repeated, foreign) answers a step with a ``note`` and nothing else.
    """
    if job.status.is_final or (job.status is JobStatus.QUARANTINED and not isinstance(event, Signal)):
        return ignore(job, event, f"the job is {job.status}")
    match event:
        case Start():
            return _start(plan, job, event, here=here)
        case Enter():
            return _enter(job, event)
        case Result():
            return results.result(plan, job, event, here=here)
        case RetryTask():
            return results.retry(plan, job, event)
        case TaskTimeout():
            return results.timeout(plan, job, event, here=here)
        case RetryHandler():
            return _retry_handler(job, event)
        case DeadLetter():
            return _dead_letter(job, event)
        case Signal():
            return _signal(plan, job, event, here=here)
        case _:
            assert_never(event)


def decide(
    plan: Plan,
    job: Job,
    action: Action,
    *,
    here: str | None,
    patch: Mapping[str, Json],
    max_transitions: int = MAX_TRANSITIONS,
    max_retries: int = MAX_RETRIES,
) -> Step:
    """What the handler of ``job.current_state`` decided; *patch* are the keys of ``state_history`` that it set."""
    if job.transitions >= max_transitions and not isinstance(action, End):
        message = f"it goes on after MAX_TRANSITIONS_PER_JOB={max_transitions} states"
        return _broken(job, error("TOO_MANY_TRANSITIONS", message))
    entered = _entered(job, action, patch)
    match action:
        case GoTo(state):
            return entered.then(go_on(plan, entered.job, state, here=here))
        case DispatchTask():
            return entered.then(_dispatch(plan, entered.job, action, max_retries))
        case End(result):
            return entered.then(_end(plan, entered.job, result))
        case _:
            assert_never(action)


def handler_raised(plan: Plan, job: Job, *, error: str, retry_limit: int = 3) -> Step:
    """The handler of ``job.current_state`` raised; *error* is the traceback. It is tried again, or the job is over."""
    failures = job.handler_failures + 1
    delay = replace(_HANDLER_RETRIES, max_retries=retry_limit).delay_after(failures)
    problem = {"code": "HANDLER_RAISED", "message": _last_line(error), "traceback": error}
    if delay is None:
        return _broken(job, problem)
    job = job.evolve(status=JobStatus.RUNNING, handler_failures=failures)
    data = {"error": problem, "failures": failures, "delay_seconds": delay.total_seconds()}
    return Step(
        job,
        history=(HistoryEntry("handler_failed", state=job.current_state, data=data),),
        timers=(handler_timer(plan, job, delay.total_seconds()),),
    )


def broken(plan: Plan, job: Job, *, message: str) -> Step:
    """The blueprint is at fault in a way that no second try can mend."""
    return _broken(job, error("HANDLER_ERROR", message))


# ---------------------------------------------------------------- events


def _start(plan: Plan, job: Job, event: Start, *, here: str | None) -> Step:
    if job.status is not JobStatus.PENDING:
        return ignore(job, event, "the job has begun already")
    return go_on(plan, job, plan.start, here=here)


def _enter(job: Job, event: Enter) -> Step:
    if (event.state, event.transition) != _place(job) or job.handler_failures:
        return ignore(job, event, "the job is not on its way to this state")
    return Step(job, enter=event.state)


def _retry_handler(job: Job, event: RetryHandler) -> Step:
    if (event.state, event.transition) != _place(job) or event.failures != job.handler_failures:
        return ignore(job, event, "this handler does not wait to be tried again")
    return Step(job, enter=event.state)


def _place(job: Job) -> tuple[str, int] | None:
    """The state that a job is about to enter, and how many it entered before; None where it waits in a state."""
    if job.status is not JobStatus.RUNNING or job.current_state is None:
        return None
    return job.current_state, job.transitions


def _dead_letter(job: Job, event: DeadLetter) -> Step:
    if event.task_id is None:
        if event.state != job.current_state:
            return ignore(job, event, "the job is in another state")
        what = f"a step message of {event.state!r}"
    else:
        task = job.tasks.get(event.task_id)
        if task is None or not task.is_open or event.attempt != task.attempt:
            return ignore(job, event, "the job does not wait for this attempt any more")
        what = f"the task {task.task_type!r}"
    problem = error("DEAD_LETTER", f"{what} was given up: {event.reason}")
    return quarantine(job, problem, event.details)


def _signal(plan: Plan, job: Job, event: Signal, *, here: str | None) -> Step:
    if event.wish == "cancel":
        return end(job, JobStatus.CANCELLED, {"by": event.by})
    if job.status is not JobStatus.QUARANTINED or job.current_state is None:
        return ignore(job, event, f"the job is {job.status}, not quarantined")
    resumed = HistoryEntry("job_resumed", state=job.current_state, data={"by": event.by})
    return Step(job, history=(resumed,)).then(go_on(plan, job.evolve(error=None), job.current_state, here=here))


# ---------------------------------------------------------------- decisions


def _entered(job: Job, action: Action, patch: Mapping[str, Json]) -> Step:
    """A state counts as entered once its handler has decided."""
    data: dict[str, Json] = {"go_to": action.state} if isinstance(action, GoTo) else {}
    if patch:
        data["state_history"] = dict(patch)
    return Step(
        job.evolve(
            state_history={**job.state_history, **patch},
            transitions=job.transitions + 1,
            handler_failures=0,
        ),
        history=(HistoryEntry("state_entered", state=job.current_state, data=data or None),),
    )


def _dispatch(plan: Plan, job: Job, action: DispatchTask, max_retries: int) -> Step:
    job = job.evolve(steps=job.steps + 1)
    task = Task(
        id=f"{job.id}.{job.steps}.0",
        task_type=action.task_type,
        state=str(job.current_state),
        transitions=action.transitions,
        params=action.params,
        max_retries=_given(action.max_retries, max_retries),
        priority=_given(action.priority, job.priority),
        dispatch_timeout_seconds=_given(action.dispatch_timeout_seconds, job.dispatch_timeout_seconds),
        result_timeout_seconds=_given(action.result_timeout_seconds, job.result_timeout_seconds),
        output_schema=action.output_schema,
    )
    return results.open_task(plan, job, task)


def _end(plan: Plan, job: Job, result: Json) -> Step:
    result = _given(result, job.result)
    if plan.states[str(job.current_state)].end is EndKind.FAILED:
        data = {"result": result} if job.error is None else {"result": result, "error": job.error}
        return end(job.evolve(result=result), JobStatus.FAILED, data)
    return end(job.evolve(result=result, error=None), JobStatus.FINISHED, {"result": result})


def _broken(job: Job, problem: Mapping[str, Json]) -> Step:
    return end(job.evolve(error=problem), JobStatus.ERROR, {"error": problem})


def _given(value: Json, default: Json) -> Json:
    return default if value is None else value


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it raised"
