"""Waits for anything but tasks: a time, a person's decision, a signal (:mod:`.signals`), the end of a child job."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from avtomatika.core.blueprint.action_types import AwaitApproval, RunBlueprint, Wait, WaitFor
from avtomatika.core.blueprint.output_schema import faults_by_field
from avtomatika.core.events import ChildEnded, ChildQuarantined, Decision, TimeReached
from avtomatika.core.job import HistoryEntry, Job, JobStatus, Json, WaitRecord
from avtomatika.core.plan import Plan
from avtomatika.core.step import SendWebhook, SetTimer, Step
from avtomatika.errors import InvalidRequestError

from .children import with_children
from .moves import end, enter_state, error, ignore, notify_parent, quarantine
from .task_results import merged
from .timers import timers_of_wait, wait_timer

#: The outcome of a timer.
ELAPSED = "elapsed"
#: Decisions with their own event type; all others are recorded as ``decided``.
_DECISIONS = frozenset({"approved", "rejected"})

Kind = Literal["timer", "approval", "signal", "child"]


# ---------------------------------------------------------------- start


def wait(plan: Plan, job: Job, action: Wait) -> Step:
    """Wait for a time."""
    when: dict[str, Json] = {"seconds": action.seconds} if action.until_ms is None else {"until_ms": action.until_ms}
    wait = new_wait(job, "timer", {ELAPSED: action.then}, when)
    timer = wait_timer(plan, job, wait, action.seconds or 0, at_ms=action.until_ms)
    entry = HistoryEntry("timer_set", state=wait.state, data={**when, "then": action.then})
    return Step(with_wait(job, wait, JobStatus.WAITING_FOR_TIMER), history=(entry,), timers=(timer,))


def await_approval(plan: Plan, job: Job, action: AwaitApproval) -> Step:
    """Wait for a decision, or its timeout, and send a webhook."""
    wait, timers = ask(plan, job, action, "approval", {"integration": action.integration, "message": action.message})
    entry = HistoryEntry("approval_requested", state=wait.state, data={**wait.details, "decisions": decisions(wait)})
    has_webhook = job.webhook_url is not None
    waiting = with_wait(job, wait, JobStatus.WAITING_FOR_HUMAN).evolve(webhooks=job.webhooks + has_webhook)
    webhooks = (SendWebhook(waiting),) if has_webhook else ()
    return Step(waiting, history=(entry,), outgoing=webhooks, timers=timers)


def ask(
    plan: Plan, job: Job, action: AwaitApproval | WaitFor, kind: Kind, details: Mapping[str, Json]
) -> tuple[WaitRecord, tuple[SetTimer, ...]]:
    """Return the wait of *action*, whose *details* get the given options, and the timer of its timeout."""
    options = {name: getattr(action, name, None) for name in ("timeout_seconds", "form", "assignees", "role")}
    given = {name: value for name, value in options.items() if value not in (None, ())}
    wait = new_wait(job, kind, action.transitions, {**details, **given})
    return wait, () if action.timeout_seconds is None else (wait_timer(plan, job, wait, action.timeout_seconds),)


def run_child(job: Job, action: RunBlueprint, child: Step) -> Step:
    """Wait for the child job whose first step is *child*."""
    child_id, child_start = child.job.id, str(child.job.current_state)
    signal_key = f"{child.job.blueprint}@{child.job.plan_hash}.{child_start}._signal"
    wait = new_wait(job, "child", action.transitions, {"child_id": child_id, "signal_key": signal_key})
    started = {"child_id": child_id, "blueprint": action.name}
    entry = HistoryEntry("child_started", state=wait.state, data=started)
    job = with_children(job, child_id)
    return Step(with_wait(job, wait, JobStatus.WAITING_FOR_CHILD), history=(entry,), children=(child,))


def decisions(wait: WaitRecord) -> list[str]:
    """Return the possible decisions."""
    return [outcome for outcome in wait.transitions if outcome != "timeout"]


def may_decide(details: Mapping[str, Json], name: str, roles: Collection[str]) -> bool:
    """Return True if an approval with *details* names the client *name* or one of its *roles*."""
    return name in details.get("assignees", ()) or details.get("role") in roles


def deciders(details: Mapping[str, Json]) -> str | None:
    """Return in words who may decide; None if the approval names no one."""
    role = details.get("role")
    return " or ".join([*details.get("assignees", ()), *([f"clients with the role {role!r}"] if role else ())]) or None


# ---------------------------------------------------------------- events


def time_reached(plan: Plan, job: Job, event: TimeReached, *, queue: str | None) -> Step:
    """End the wait for a time, or time out an approval or a signal: ``timeout``, else the job fails."""
    wait = job.wait
    if wait is None or wait.token != event.token:
        return ignore(job, event, "the job does not wait for this time any more")
    over = EndedWait(plan, job, wait, queue)
    if wait.kind == "timer":
        return over.enter_state("timer_fired", {}, ELAPSED)
    within = f"within {wait.details['timeout_seconds']} s"
    problem = (
        error("APPROVAL_TIMEOUT", f"no decision {within}")
        if wait.kind == "approval"
        else error("SIGNAL_TIMEOUT", f"no signal {wait.details['signal']!r} {within}")
    )
    over = replace(over, job=job.evolve(error=problem))
    if "timeout" in wait.transitions:
        return over.enter_state("timer_fired", {"error": problem}, "timeout")
    return over.then_end("timer_fired", {"error": problem}, problem)


def decision_data(event: Decision) -> dict[str, Json]:
    """Return the stored form of a decision."""
    data = {"decision": event.decision, "by": event.by}
    return data if event.comment is None else {**data, "comment": event.comment}


def check_decision(wait: WaitRecord, decision: str, data: Json) -> None:
    """Raise InvalidRequestError if *decision* is not offered, or if its *data* does not fit the form of the approval.

    Without a form there is no data; ``rejected`` needs none.
    """
    if decision not in decisions(wait):
        known = ", ".join(decisions(wait))
        message = f"{decision!r} is not one of the decisions {known}"
        raise InvalidRequestError(message, fields={"decision": [f"must be one of: {known}"]})
    form = wait.details.get("form")
    if form is None and data is not None:
        raise InvalidRequestError("the approval asks for no data", fields={"data": ["the approval asks for none"]})
    if form is None or (data is None and decision == "rejected"):
        return
    check_form(data, form, "the data of the decision")


def check_form(data: Json, form: Mapping[str, Json], name: str) -> None:
    """Raise InvalidRequestError by field if *data*, called *name* in the message, does not fit the schema *form*."""
    faults = faults_by_field({} if data is None else data, form)
    if faults:
        words = "; ".join(f"{field} {texts[0]}".strip() for field, texts in faults.items())
        raise InvalidRequestError(f"{name}: {words}", fields={"data": faults.get("", faults)})


def decided(plan: Plan, job: Job, event: Decision, *, queue: str | None) -> Step:
    """Continue after a person's decision, stored as ``state_history["approval"]``, and ``decision_data`` if the
    approval has a form."""
    wait = job.wait
    if wait is None or wait.token != event.token or wait.kind != "approval":
        return ignore(job, event, "the job no longer waits for this decision")
    if event.decision not in decisions(wait):
        return ignore(job, event, f"not a decision here: {', '.join(decisions(wait))}")
    data = decision_data(event)
    kept = {**job.state_history, "approval": data}
    if "form" in wait.details:
        kept["decision_data"] = event.data
        data = {**data, "data": event.data}
    job = job.evolve(state_history=kept, error=None)
    event_type = event.decision if event.decision in _DECISIONS else "decided"
    return EndedWait(plan, job, wait, queue).enter_state(event_type, data, event.decision)


def child_ended(plan: Plan, job: Job, event: ChildEnded, *, queue: str | None) -> Step:
    """Continue after the child's end: its result is merged like a task's; an outcome without a transition quarantines
    *job*."""
    wait = job.wait
    if wait is None or wait.kind != "child" or wait.details["child_id"] != event.child_id:
        return ignore(job, event, "the job does not wait for this one any more")
    data: dict[str, Json] = {"child_id": event.child_id, "status": event.status}
    if event.status == "finished" or event.result is not None:
        data["result"] = event.result
    outcome = JobStatus(event.status).outcome
    job = job.evolve(state_history=merged(job.state_history, event.result))
    if outcome == "success" and outcome in wait.transitions:
        over = EndedWait(plan, job.evolve(result=event.result, error=None), wait, queue)
        return over.enter_state("child_finished", data, outcome)
    problem = _problem(event, wait)
    over = EndedWait(plan, job.evolve(error=problem), wait, queue)
    for planned in (outcome, "failure"):
        if planned in wait.transitions and outcome != "success":
            return over.enter_state("child_finished", {**data, "error": problem}, planned)
    return over.then_quarantine("child_finished", {**data, "error": problem}, problem)


def child_quarantined(job: Job, event: ChildQuarantined) -> Step:
    """Keep waiting; send a webhook, and notify the parent, with the error of the child."""
    is_branch = job.fan_out is not None and event.child_id.startswith(f"{job.id}-{job.fan_out.step}-")
    if not is_branch and (job.wait is None or job.wait.details.get("child_id") != event.child_id):
        return ignore(job, event, "the job does not wait for this one any more")
    data: dict[str, Json] = {"child_id": event.child_id, "error": event.error}
    entry = HistoryEntry("child_quarantined", state=job.current_state, data=data)
    waiting = Step(job, history=(entry,)).then(notify_parent(job, event.error))
    if job.webhook_url is None:
        return waiting
    message = f"job {event.child_id}, which this one waits for, is quarantined: {event.error.get('message')}"
    shown = job.evolve(webhooks=job.webhooks + 1, error={**error("CHILD_QUARANTINED", message), **data})
    webhook = SendWebhook(shown, event="job.child_quarantined")
    return waiting.then(Step(job.evolve(webhooks=shown.webhooks), outgoing=(webhook,)))


def _problem(event: ChildEnded, wait: WaitRecord) -> Mapping[str, Json]:
    if event.status == "finished":
        return error("NO_TRANSITION", f"{wait.state!r} has no transition for 'success'")
    return event.error or error("CHILD_ENDED", f"job {event.child_id} is {event.status}")


@dataclass(frozen=True, slots=True)
class EndedWait:
    """A wait of a job that ends; *queue* delivered the event."""

    plan: Plan
    job: Job
    wait: WaitRecord
    queue: str | None

    def enter_state(self, event_type: str, data: Mapping[str, Json], outcome: str) -> Step:
        target = self.wait.transitions[outcome]
        resumed = self._resume(event_type, {**data, "go_to": target})
        return resumed.then(enter_state(self.plan, resumed.job, target, queue=self.queue))

    def then_end(self, event_type: str, data: Mapping[str, Json], problem: Mapping[str, Json]) -> Step:
        resumed = self._resume(event_type, data)
        return resumed.then(end(resumed.job, JobStatus.FAILED, {"error": problem}))

    def then_quarantine(self, event_type: str, data: Mapping[str, Json], problem: Mapping[str, Json]) -> Step:
        resumed = self._resume(event_type, data)
        return resumed.then(quarantine(resumed.job, problem))

    def _resume(self, event_type: str, data: Mapping[str, Json]) -> Step:
        entry = HistoryEntry(event_type, state=self.wait.state, data=data)
        return Step(self.job.evolve(wait=None), history=(entry,), cancelled_timers=timers_of_wait(self.wait))


def with_wait(job: Job, wait: WaitRecord, status: JobStatus) -> Job:
    return job.evolve(status=status, wait=wait, steps=job.steps + 1)


def new_wait(job: Job, kind: Kind, transitions: Mapping[str, str], details: Mapping[str, Json]) -> WaitRecord:
    return WaitRecord(kind, f"{job.id}.{job.steps + 1}", str(job.current_state), transitions, details)
