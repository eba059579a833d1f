"""Signals: data that a program or a person sends to a job, which takes it when it waits for it. Pure.

The store keeps signals with their job, also before the wait.
"""

from collections.abc import Mapping

from avtomatika.core.blueprint.action_types import WaitFor
from avtomatika.core.events import SignalReceived
from avtomatika.core.job import HistoryEntry, Job, JobStatus, Json, WaitRecord
from avtomatika.core.plan import Plan
from avtomatika.core.step import Step
from avtomatika.errors import InvalidRequestError, NotFoundError

from .moves import error, ignore
from .waits import EndedWait, ask, check_form, with_wait


def wait_for(plan: Plan, job: Job, action: WaitFor, *, queue: str | None) -> Step:
    """Wait for a signal or its timeout, or take one that was sent before."""
    wait, timers = ask(plan, job, action, "signal", {"signal": action.signal})
    entry = HistoryEntry("signal_awaited", state=wait.state, data=wait.details)
    started = Step(with_wait(job, wait, JobStatus.WAITING_FOR_SIGNAL), history=(entry,), timers=timers)
    return started.then(_take(plan, started.job, wait, queue=queue))


def received(plan: Plan, job: Job, event: SignalReceived, *, queue: str | None) -> Step:
    """Continue with the signal that *job* waits for. Another one remains with the job."""
    wait = job.wait
    if wait is None or wait.kind != "signal":
        return ignore(job, event, "the job waits for no signal")
    taken = _take(plan, job, wait, queue=queue)
    return taken if taken.job != job else ignore(job, event, f"the job waits for the signal {wait.details['signal']!r}")


def _take(plan: Plan, job: Job, wait: WaitRecord, *, queue: str | None) -> Step:
    """Return the step with the oldest signal that fits *wait*, stored as ``state_history["signal_data"]``.

    A signal that was sent before its schema was known may not fit: it is dropped.
    """
    step = Step(job)
    for signal in job.signals:
        if signal["name"] != wait.details["signal"]:
            continue
        rest = tuple(each for each in step.job.signals if each is not signal)
        data: dict[str, Json] = {name: signal[name] for name in ("id", "name", "by")}
        if (problem := _misfit(signal, wait)) is None:
            kept = {**job.state_history, "signal_data": signal["data"]}
            taken = {**data, "data": signal["data"], "outcome": "received"}
            job = job.evolve(signals=rest, state_history=kept, error=None)
            return step.then(EndedWait(plan, job, wait, queue).enter_state("signal_taken", taken, "received"))
        rejected = HistoryEntry("signal_rejected", state=wait.state, data={**data, "error": problem})
        step = step.then(Step(step.job.evolve(signals=rest), history=(rejected,)))
    return step


def _misfit(signal: Mapping[str, Json], wait: WaitRecord) -> Mapping[str, Json] | None:
    """Return the error of a *signal* whose data do not fit the schema of *wait*."""
    try:
        check_signal(wait, signal["data"])
    except InvalidRequestError as misfit:
        return error("INVALID_SIGNAL", str(misfit))
    return None


def check_early(plan: Plan, name: str, data: Json) -> None:
    """Check a signal for which no job of *plan* waits yet, as far as the plan has its schema.

    Raises NotFoundError for a signal that no state waits for, InvalidRequestError by field.
    """
    known = [each for state in plan.states.values() for each in state.signals]
    schemas = [schema for each, schema in known if each == name]
    if not schemas and all(each is not None for each, _ in known):
        raise NotFoundError("signal", name, known=[str(each) for each, _ in known])
    if len(schemas) == 1 and schemas[0] is not None:
        check_form(data, schemas[0], f"the data of the signal {name!r}")


def check_signal(wait: WaitRecord, data: Json) -> None:
    """Raise InvalidRequestError by field if *data* does not fit the schema of *wait*."""
    if "form" in wait.details:
        check_form(data, wait.details["form"], f"the data of the signal {wait.details['signal']!r}")
