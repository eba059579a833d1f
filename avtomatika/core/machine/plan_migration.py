"""Jobs of an earlier plan: checks whether the current plan can continue them, and migrates them.

A job continues if the current plan has its state, and routes for everything that it waits for. Otherwise it is
quarantined under its old plan, with what is missing.
"""

from collections.abc import Iterator

from avtomatika.core.events import DeadlineExceeded, Event, Signal
from avtomatika.core.job import HistoryEntry, Job, JobStatus
from avtomatika.core.plan import BUILTIN_OUTCOMES, Plan
from avtomatika.core.rules import Rules
from avtomatika.core.step import Step

from . import machine
from .moves import error, quarantine

#: The default rules.
_RULES = Rules()


def plan_name(blueprint: str, plan_hash: str) -> str:
    """Return the unique name of a plan.

    >>> plan_name("video", "1f3a9c2e")
    'video@1f3a9c2e'
    """
    return f"{blueprint}@{plan_hash}"


def advance(plan: Plan, job: Job, event: Event, *, queue: str | None, rules: Rules = _RULES) -> Step:
    """Return the step of ``machine.advance`` under *plan*, after migrating *job* to it in the same step."""
    if job.plan_hash == plan.plan_hash and not (job.earlier_plans and job.fan_out):
        return machine.advance(plan, job, event, queue=queue, rules=rules)
    lacking = missing(plan, job)  # of a fan-out, only the branches of *event* are loaded
    if lacking and not _needs_no_plan(job, event):
        return _quarantine_unmigrated(plan, job, lacking)
    if lacking or job.plan_hash == plan.plan_hash:
        return machine.advance(plan, job, event, queue=queue, rules=rules)
    changed = migrate(plan, job)
    step = machine.advance(plan, changed.job, event, queue=queue, rules=rules)
    return Step(job, note=step.note) if step.note is not None else changed.then(step)


def _quarantine_unmigrated(plan: Plan, job: Job, lacking: tuple[str, ...]) -> Step:
    """Quarantine *job* until a plan has what is *lacking*."""
    begun_under = job.plan_hash if job.plan_hash != plan.plan_hash else job.earlier_plans[-1]
    message = f"plan {plan.plan_hash} cannot continue a job of plan {begun_under}: it has no {', no '.join(lacking)}"
    return quarantine(job, {**error("PLAN_CHANGED", message), "missing": list(lacking)})


def _needs_no_plan(job: Job, event: Event) -> bool:
    """Return True if *event* only ends *job* or does not affect it."""
    if isinstance(event, Signal):
        return event.wish == "cancel"
    return isinstance(event, DeadlineExceeded) or job.status is JobStatus.QUARANTINED


def migrate(plan: Plan, job: Job) -> Step:
    """Move *job* to *plan*, which must lack nothing; a pending job starts at the new start state."""
    entry = HistoryEntry(
        "plan_changed", state=job.current_state, data={"old_plan": job.plan_hash, "new_plan": plan.plan_hash}
    )
    state = plan.start if job.status is JobStatus.PENDING else job.current_state
    earlier = (*(name for name in job.earlier_plans if name != plan.plan_hash), job.plan_hash)
    return Step(job.evolve(plan_hash=plan.plan_hash, current_state=state, earlier_plans=earlier), history=(entry,))


def missing(plan: Plan, job: Job) -> tuple[str, ...]:
    """Return what *job* needs and *plan* lacks, as nouns; nothing for an ended job."""
    if job.status.is_final or job.status is JobStatus.PENDING:
        return ()
    return tuple(dict.fromkeys(_missing(plan, job)))


def states_needed(job: Job) -> tuple[str, ...]:
    """Return the states that an open *job* is in, or may enter from what it waits for."""
    needed: list[str] = [str(job.current_state)]
    for task in job.tasks.values():
        needed += (task.state, *task.transitions.values())
    if job.fan_out is not None:
        needed += (job.fan_out.state, job.fan_out.aggregator)
    if job.wait is not None:
        needed += (job.wait.state, *job.wait.transitions.values())
    return tuple(dict.fromkeys(needed))


def _missing(plan: Plan, job: Job) -> Iterator[str]:
    yield from (f"state {state!r}" for state in states_needed(job) if state not in plan.states)
    aggregators = [state.name for state in plan.states.values() if state.is_aggregator]
    if job.fan_out is not None and job.fan_out.aggregator not in aggregators:
        yield f"aggregator {job.fan_out.aggregator!r}"
    for task in job.tasks.values():
        known = _outcomes(plan, task.state)
        for outcome in task.transitions:
            if known is not None and outcome not in known:
                yield f"outcome {outcome!r} of {task.state!r}"


def _outcomes(plan: Plan, state: str) -> frozenset[str] | None:
    """Return the outcomes of tasks of *state* under *plan*; None for an unknown or retired state."""
    if state not in plan.states or plan.states[state].is_retired:
        return None
    found = plan.states[state]
    return frozenset({*BUILTIN_OUTCOMES, *found.outcomes}) if found.dispatches else frozenset()
