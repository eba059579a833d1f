"""Results, timeouts and retries of tasks."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from avtomatika.core.blueprint.output_schema import fault_in
from avtomatika.core.events import DeadLetter, Joined, PlaceTask, Result, RetryTask, TaskTimeout
from avtomatika.core.job import HistoryEntry, Job, JobStatus, Json, Task, step_of
from avtomatika.core.placement.selection import Needs, NoCandidate
from avtomatika.core.plan import Plan
from avtomatika.core.retry import TRANSIENT, RetryPolicy
from avtomatika.core.step import BranchEnd, SendEvent, Step

from . import single_task
from .moves import abandon_branches, close, end, enter_state, error, ignore, quarantine, reported_error, stop_branches
from .tasks import open_task
from .timers import retry_timer, timers_of_task

#: The parameters are invalid: no attempt can succeed, and the job fails.
INVALID_INPUT = "INVALID_INPUT_ERROR"
#: Workers lack settings: the job can be rerun once they are set.
WORKER_SETTINGS = "WORKER_SETTINGS_ERROR"
#: The data of a result violate the output schema: the job is quarantined.
CONTRACT_VIOLATION = "CONTRACT_VIOLATION"
#: Maximum attempts for which faults of workers do not count as failures of the task.
_MOST_ATTEMPTS = 200
#: Errors that quarantine the job even in a branch of a fan-out.
_NOT_UNDERSTOOD = frozenset({"UNKNOWN_OUTCOME", "NO_TRANSITION", CONTRACT_VIOLATION})


def result(plan: Plan, job: Job, event: Result, *, queue: str | None) -> Step:
    """Handle the result of a task."""
    task = job.tasks.get(event.task_id)
    if task is None:
        return ignore(job, event, "the job does not wait for this task")
    if not task.is_open or event.attempt != task.attempt:
        return ignore(job, event, f"another attempt: the job waits for attempt {task.attempt}")
    case = _Case(plan, job, task, queue)
    match event.status:
        case "failure":
            return _failure(case, event)
        case "cancelled":
            return _cancelled(case, event)
        case status if status in task.transitions:
            return _success(case, event)
        case _ if plan.states[task.state].ends_with_task:
            return single_task.finished(job, task, event, _entry("task_succeeded", event, task.state, {}))
        case _:
            return _failed(case, event, _unknown_outcome(task, event.status), target=None)


def retry(plan: Plan, job: Job, event: RetryTask) -> Step:
    """Start the next attempt after its back-off."""
    task = job.tasks.get(event.task_id)
    if task is None or task.is_open or event.attempt != task.attempt:
        return ignore(job, event, "no attempt of that number waits for its start")
    return open_task(plan, job, replace(task, is_open=True))


def timeout(plan: Plan, job: Job, event: TaskTimeout, *, queue: str | None) -> Step:
    """Handle a task that was not taken, or not finished, in time: ``timeout``, else ``failure``, else the job fails."""
    task = job.open_attempt(event.task_id, event.attempt)
    if task is None:
        return ignore(job, event, "the job does not wait for this attempt any more")
    unwanted = Step(job, revoked=(task.attempt_group,))
    return unwanted.then(_timed_out(_Case(plan, job, task, queue), event))


def _timed_out(case: "_Case", event: TaskTimeout) -> Step:
    job, task, problem = case.job, case.task, _timeout_error(case.task, event)
    target = task.transitions.get("timeout") or task.transitions.get("failure")
    data = {"which": event.which, "error": problem}
    entry = HistoryEntry.of_task("task_timed_out", task, data)
    if (delay_seconds := _delay_seconds(task, problem)) is not None:
        return _retried(case, entry, problem, delay_seconds=delay_seconds)
    if (joined := case.survived(entry, {"status": "timeout", "data": None, "error": problem}, target)) is not None:
        return joined
    case = replace(case, job=job.evolve(error=problem))
    if target is not None:
        return case.enter_state(replace(entry, data={**data, "go_to": target}), target)
    closed = case.close(entry)
    return closed.then(end(closed.job, JobStatus.FAILED, {"error": problem}))


def dead_letter(plan: Plan, job: Job, event: DeadLetter, *, queue: str | None) -> Step:
    """Quarantine the job of a dead-lettered task or result. If the result was refused, another worker may succeed:
    retry as after a transient failure."""
    task = job.open_attempt(event.task_id or "", event.attempt)
    if task is None:
        return ignore(job, event, "the job does not wait for this attempt any more")
    problem = error("DEAD_LETTER", f"the task {task.task_type!r} was dead-lettered: {event.reason}")
    delay_seconds = _delay_seconds(task, error(TRANSIENT, "")) if event.is_refused else None
    if delay_seconds is None:
        return quarantine(job, problem, event.details)
    entry = HistoryEntry.of_task("task_failed", task, {"error": problem})
    return _retried(_Case(plan, job, task, queue), entry, problem, delay_seconds=delay_seconds)


def merged(state_history: Mapping[str, Json], data: Json) -> Mapping[str, Json]:
    """Merge the data of a result into *state_history*: the keys of a dict, or anything else under ``result``."""
    if data is None:
        return state_history
    return {**state_history, **(data if isinstance(data, Mapping) else {"result": data})}


def branch_answer(event: Result) -> dict[str, Json]:
    """Return the result of a branch as its aggregator gets it."""
    problem = None if event.error is None else reported_error(event.error, {})
    return {"status": event.status, "data": event.data, "error": problem}


@dataclass(frozen=True, slots=True)
class _Case:
    """A task of a job with an event that *queue* delivered."""

    plan: Plan
    job: Job
    task: Task
    queue: str | None

    def close(self, entry: HistoryEntry) -> Step:
        return close(self.job, self.task, entry)

    def enter_state(self, entry: HistoryEntry, target: str) -> Step:
        """Continue in *target*; a branch abandons its siblings."""
        closed = self.close(entry)
        alone = closed.then(abandon_branches(closed.job))
        return alone.then(enter_state(self.plan, alone.job, target, queue=self.queue))

    def is_collected(self, target: str | None) -> bool:
        """Return True if *target* is the aggregator of the job's fan-out."""
        return self.job.fan_out is not None and target == self.job.fan_out.aggregator

    def collect(self, entry: HistoryEntry, answer: Mapping[str, Json]) -> Step:
        """Store *answer* for the aggregator."""
        key = self.plan.key(self.task.state, "_joined")
        joined = SendEvent(key, Joined(self.job.id, step_of(self.task.id)))
        closed = self.close(entry)
        return closed.then(Step(closed.job, ended=(BranchEnd(self.task.id, answer),), joined=joined))

    def succeed(self, entry: HistoryEntry, answer: Mapping[str, Json]) -> Step:
        """Store *answer* for the aggregator, which runs now if it waits for the first success only."""
        collected = self.collect(entry, answer)
        branches, joined = collected.job.fan_out, collected.joined
        if branches is None or joined is None or not branches.first_success:
            return collected
        job = collected.job.evolve(fan_out=replace(branches, is_decided=True))
        stopped = stop_branches(job, branches).then(Step(job, outgoing=(joined,)))
        return collected._replace(joined=None).then(stopped)

    def survived(self, entry: HistoryEntry, answer: Mapping[str, Json], target: str | None) -> Step | None:
        """Return the step of a failed branch, which would lead to *target*, if its fan-out waits for the others."""
        branches, problem = self.job.fan_out, answer["error"]
        if self.is_collected(target):
            return self.collect(entry, answer)
        if branches is None or (self.task.blueprint is None and problem["code"] in _NOT_UNDERSTOOD):
            return None
        failure = branches.failure or {"error": problem, **_target_data(target)}
        branches = replace(branches, failed=(branches.failed or 0) + 1, failure=failure)
        if branches.has_failed and not branches.finishes_all:
            return None
        return replace(self, job=self.job.evolve(fan_out=branches)).collect(entry, answer)


def _success(case: _Case, event: Result) -> Step:
    if (problem := _schema_violation(case.task, event)) is not None:
        return _failed(case, event, problem, target=None)
    target = case.task.transitions[event.status]
    if case.is_collected(target):
        return case.succeed(_entry("branch_finished", event, case.task.state, {}), branch_answer(event))
    learnt = merged(case.job.state_history, event.data)
    job = case.job.evolve(state_history=learnt, result=event.data, error=None)
    entry = _entry("task_succeeded", event, case.task.state, _target_data(target))
    return replace(case, job=job).enter_state(entry, target)


def _failure(case: _Case, event: Result) -> Step:
    problem = reported_error(event.error, error(TRANSIENT, "the worker gave no reason"))
    if isinstance(problem.get("worker_fault"), Mapping) and event.worker_id and case.task.attempt < _MOST_ATTEMPTS:
        return _reassigned(case, _entry("task_failed", event, case.task.state, {"error": problem}), event.worker_id)
    if (delay_seconds := _delay_seconds(case.task, problem)) is not None:
        entry = _entry("task_failed", event, case.task.state, {"error": problem})
        return _retried(case, entry, problem, delay_seconds=delay_seconds)
    return _failed(case, event, problem, target=case.task.transitions.get("failure"))


def _cancelled(case: _Case, event: Result) -> Step:
    transitions = case.task.transitions
    problem = reported_error(event.error, error("CANCELLED", "the worker cancelled the task"))
    return _failed(case, event, problem, target=transitions.get("cancelled") or transitions.get("failure"))


def _failed(case: _Case, event: Result, problem: Mapping[str, Json], *, target: str | None) -> Step:
    """Handle a final failure: enter *target*; without one, invalid input, a failed branch or a failed single task fails
    the job, and any other failure quarantines it."""
    ended = _entry("branch_finished", event, case.task.state, {"error": problem})
    if (joined := case.survived(ended, {**branch_answer(event), "error": problem}, target)) is not None:
        return joined
    entry = _entry("task_failed", event, case.task.state, {"error": problem, **_target_data(target)})
    case = replace(case, job=case.job.evolve(error=problem))
    if target is not None:
        return case.enter_state(entry, target)
    closed = case.close(entry)
    is_single = case.plan.states[case.task.state].ends_with_task
    is_branch = case.job.fan_out is not None
    is_understood = case.task.blueprint is not None or problem["code"] not in _NOT_UNDERSTOOD
    if is_single or problem["code"] == INVALID_INPUT or (is_branch and is_understood):
        return closed.then(end(closed.job, JobStatus.FAILED, {"error": problem}))
    return closed.then(quarantine(closed.job, problem))


def _retried(case: _Case, entry: HistoryEntry, problem: Mapping[str, Json], *, delay_seconds: float) -> Step:
    task = case.task
    waiting = replace(task, attempt=task.attempt + 1, is_open=False)
    job = case.job.evolve(error=problem, tasks={**case.job.tasks, task.id: waiting})
    data = {"attempt": waiting.attempt, "delay_seconds": delay_seconds}
    retried = HistoryEntry.of_task("task_retried", waiting, data)
    return Step(
        job,
        history=(entry, retried),
        timers=(retry_timer(case.plan, job, waiting, delay_seconds),),
        cancelled_timers=timers_of_task(task),
        closed=((task.id, task.attempt),),
    )


def _reassigned(case: _Case, entry: HistoryEntry, worker_id: str) -> Step:
    """Send the task to another worker at once; the fault of a worker does not count as an attempt."""
    task, needs = case.task, case.task.needs
    if needs is None or needs.is_preference:
        needs = Needs()
    problem: Mapping[str, Json] = (entry.data or {})["error"]
    is_workers = problem["worker_fault"].get("probe") is not None
    again = replace(
        task,
        attempt=task.attempt + 1,
        max_retries=task.max_retries + 1,
        needs=replace(needs, refused={**needs.refused, worker_id: is_workers}),
    )
    closed = Step(
        case.job.evolve(error=problem),
        history=(entry,),
        cancelled_timers=timers_of_task(task),
        closed=((task.id, task.attempt),),
    )
    return closed.then(open_task(case.plan, closed.job, again))


def refused_by_all(plan: Plan, job: Job, event: PlaceTask, *, queue: str | None) -> Step:
    """Fail a task that every worker has refused: for lack of permissions or space (its own fault), or of settings."""
    task = job.open_attempt(event.task_id, event.attempt)
    if task is None or not isinstance(event.choice, NoCandidate):
        return ignore(job, event, "the job does not wait for this attempt any more")
    last = job.error or {}
    code = WORKER_SETTINGS if last.get("code") == WORKER_SETTINGS else INVALID_INPUT
    problem = error(code, f"{last.get('message', 'no reason given')}; {event.choice.missing}")
    refused = Result(job.id, task.id, task.attempt, "failure", error=problem)
    return _failed(_Case(plan, job, task, queue), refused, problem, target=task.transitions.get("failure"))


def _delay_seconds(task: Task, problem: Mapping[str, Json]) -> float | None:
    """Return the delay before the next attempt after *problem*; None if there is none."""
    policy = replace(task.retry or RetryPolicy(), max_retries=task.max_retries).for_code(problem["code"])
    delay = None if policy is None else policy.delay_after(task.attempt, name=task.id)
    return None if delay is None else delay.total_seconds()


def _schema_violation(task: Task, event: Result) -> Mapping[str, Json] | None:
    """Return the error of a result that violates the task's output schema."""
    if task.output_schema is None or (fault := fault_in(event.data, task.output_schema)) is None:
        return None
    message = f"the result of {task.task_type!r} breaks its output_schema at {fault.path}: {fault.message}"
    return {**error(CONTRACT_VIOLATION, message), "path": fault.path}


def _unknown_outcome(task: Task, status: str) -> dict[str, Json]:
    known = ", ".join(dict.fromkeys((*task.transitions, "failure", "cancelled")))
    if status == "success":
        message = f"{task.state!r} has no transition for 'success'; the outcomes that it knows: {known}"
        return error("NO_TRANSITION", message)
    return error("UNKNOWN_OUTCOME", f"the worker answered {status!r}; the outcomes that {task.state!r} knows: {known}")


def _timeout_error(task: Task, event: TaskTimeout) -> Mapping[str, Json]:
    if event.which == "dispatch":
        return error("DISPATCH_TIMEOUT", f"no worker took {task.task_type!r} within {task.dispatch_timeout_seconds} s")
    return error("RESULT_TIMEOUT", f"{task.task_type!r} had no result within {task.result_timeout_seconds} s")


def _entry(event_type: str, event: Result, state: str, data: Mapping[str, Json]) -> HistoryEntry:
    answer = {"outcome": event.status} if event.data is None else {"outcome": event.status, "data": event.data}
    return HistoryEntry(
        event_type,
        state=state,
        task_id=event.task_id,
        attempt=event.attempt,
        worker_id=event.worker_id,
        duration_ms=event.duration_ms,
        data={**answer, **data},
    )


def _target_data(target: str | None) -> Mapping[str, Json]:
    return {} if target is None else {"go_to": target}
