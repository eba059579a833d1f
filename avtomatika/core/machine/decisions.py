"""The decisions of handlers: (plan, job, decision) -> Step. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

from avtomatika.core.blueprint.action_types import (
    Action,
    AwaitApproval,
    DispatchTask,
    End,
    FanOut,
    GoTo,
    RunBlueprint,
    Wait,
    WaitFor,
)
from avtomatika.core.data_checks import check_output
from avtomatika.core.job import HistoryEntry, Job, JobStatus, Json
from avtomatika.core.plan import EndKind, Plan
from avtomatika.core.retry import RetryPolicy
from avtomatika.core.rules import Rules
from avtomatika.core.step import Step
from avtomatika.core.texts import MAX_TRACEBACK, shortened
from avtomatika.errors import InvalidInputError

from . import children, fan_out, signals, waits
from .moves import break_off, drop_branches, end, enter_state, error
from .placement import limit_problem
from .tasks import given, new_task, open_task, retry_of
from .timers import handler_timer

#: Shorter delays than for tasks: a failing handler delays only its own job.
_HANDLER_RETRIES = RetryPolicy(delay=0.5, jitter=0)
#: The default rules.
_RULES = Rules()


def decide(
    plan: Plan,
    job: Job,
    action: Action,
    *,
    queue: str | None,
    patch: Mapping[str, Json],
    rules: Rules = _RULES,
) -> Step:
    """Return the step for the decision of the handler of ``job.current_state``; *patch* are the keys of
    ``state_history`` that it set."""
    if (problem := _runaway(plan, job, action, rules)) is not None:
        return break_off(job, problem)
    entered = _entered(job, action, patch)
    if isinstance(action, DispatchTask | FanOut) and (problem := limit_problem(plan, entered.job)) is not None:
        return break_off(job, problem)
    match action:
        case GoTo(state):
            return entered.then(enter_state(plan, entered.job, state, queue=queue))
        case DispatchTask():
            job = entered.job.evolve(steps=entered.job.steps + 1)
            return entered.then(open_task(plan, job, new_task(job, action, retry=retry_of(plan, rules))))
        case FanOut():
            begun = fan_out.fan_out(plan, entered.job, action, rules=rules, queue=queue, kept=job.kept)
            return entered.then(begun)
        case Wait():
            return entered.then(waits.wait(plan, entered.job, action))
        case WaitFor():
            return entered.then(signals.wait_for(plan, entered.job, action, queue=queue))
        case AwaitApproval():
            return entered.then(waits.await_approval(plan, entered.job, action))
        case RunBlueprint():
            return entered.then(_run_child(plan, entered.job, action, rules))
        case End(result):
            return entered.then(_end(plan, entered.job, result))
        case _:
            assert_never(action)


def handler_raised(plan: Plan, job: Job, *, error: str, retry_limit: int = 3) -> Step:
    """Return the step for a handler that raised *error*, a traceback: a retry, or the end of the job."""
    failures = job.handler_failures + 1
    delay = replace(_HANDLER_RETRIES, max_retries=retry_limit).delay_after(failures)
    problem = {
        "code": "HANDLER_RAISED",
        "message": shortened((error.strip().splitlines() or ["it raised"])[-1]),
        "traceback": shortened(error, MAX_TRACEBACK),
    }
    if delay is None:
        return break_off(job, problem)
    job = job.evolve(status=JobStatus.RUNNING, handler_failures=failures)
    data = {"error": problem, "failures": failures, "delay_seconds": delay.total_seconds()}
    return Step(
        job,
        history=(HistoryEntry("handler_failed", state=job.current_state, data=data),),
        timers=(handler_timer(plan, job, delay.total_seconds()),),
    )


def broken(job: Job, *, message: str) -> Step:
    """End the job as ``error``: the blueprint has a fault that no retry can fix."""
    return break_off(job, error("HANDLER_ERROR", message))


def too_large(job: Job, *, message: str) -> Step:
    """End the job as ``error``: an event or a decision would exceed the size limit of *job*."""
    return break_off(job, error("JOB_TOO_LARGE", message))


def _runaway(plan: Plan, job: Job, action: Action, rules: Rules) -> dict[str, Json] | None:
    """Return the error of a job that loops without waiting."""
    limit = rules.max_transitions if plan.max_transitions is None else plan.max_transitions
    if job.rush < limit or _waits(action) or isinstance(action, End):
        return None
    name = "MAX_TRANSITIONS_PER_JOB" if plan.max_transitions is None else "max_transitions"
    message = (
        f"the job entered {name}={limit} states in a row without waiting for a task, a time, a person or another job"
    )
    return error("TOO_MANY_TRANSITIONS", message)


def _waits(action: Action) -> bool:
    """Return True if the job waits for something before it enters the next state."""
    if isinstance(action, FanOut):
        return bool(action.branches)  # an empty one enters its aggregator at once
    return not isinstance(action, GoTo | End)


def _entered(job: Job, action: Action, patch: Mapping[str, Json]) -> Step:
    """Return the step of entering a state, which happens when its handler decides; it drops the joined branches."""
    data: dict[str, Json] = {"go_to": action.state} if isinstance(action, GoTo) else {}
    if patch:
        data["state_history"] = dict(patch)
    left = drop_branches(job)
    entered = Step(
        left.job.evolve(
            state_history={**job.state_history, **patch},
            transitions=job.transitions + 1,
            rush=0 if _waits(action) else job.rush + 1,
            handler_failures=0,
            kept={},
        ),
        history=(HistoryEntry("state_entered", state=job.current_state, data=data or None),),
    )
    return left.then(entered) if left.drops_branches else entered


def _run_child(plan: Plan, job: Job, action: RunBlueprint, rules: Rules) -> Step:
    if (problem := children.fault_in(job, [action], rules)) is not None:
        return break_off(job, problem)
    child_id = f"{job.id}-{job.steps + 1}"
    return waits.run_child(job, action, children.first_step(plan, job, action, rules, child_id=child_id))


def _end(plan: Plan, job: Job, result: Json) -> Step:
    result = given(result, job.result)
    if plan.states[str(job.current_state)].end is EndKind.FAILED:
        data = {"result": result} if job.error is None else {"result": result, "error": job.error}
        return end(job, JobStatus.FAILED, data, result=result)
    try:
        result = check_output(plan, result)
    except InvalidInputError as misfit:
        problem = error("INVALID_OUTPUT", str(misfit))
        return end(job, JobStatus.FAILED, {"result": result, "error": problem}, result=result, error=problem)
    return end(job, JobStatus.FINISHED, {"result": result}, result=result, error=None)
