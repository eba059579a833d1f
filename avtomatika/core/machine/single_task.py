"""Single tasks: jobs of the built-in plan, whose one state runs a task that ends the job."""

from avtomatika.core.compiler.bindings import bindings_of, fingerprint
from avtomatika.core.events import Result
from avtomatika.core.job import HistoryEntry, Job, JobStatus, Task
from avtomatika.core.plan import Plan, StatePlan
from avtomatika.core.retry import RetryPolicy
from avtomatika.core.step import Step

from .moves import close, end
from .tasks import given, open_task, preference_of

#: Name of the plan; names of users do not start with "_".
NAME = "_tasks"
_STATE = "run"
_RETRIES = RetryPolicy().max_retries


def _plan() -> Plan:
    states = {_STATE: StatePlan(_STATE, is_start=True, dispatches=True, ends_with_task=True)}
    plan_hash = fingerprint(NAME, states, _STATE)
    return Plan(NAME, plan_hash, _STATE, states, bindings_of(NAME, plan_hash, states))


#: The plan of all single tasks.
PLAN = _plan()


def dispatch(plan: Plan, job: Job) -> Step:
    """Dispatch the task of *job*."""
    steps = job.steps + 1
    task = Task(
        id=f"{job.id}.{steps}.0",
        task_type=str(job.skill),
        state=plan.start,
        transitions={},
        params=job.initial_data,
        max_retries=given(job.max_retries, _RETRIES),
        priority=job.priority,
        dispatch_timeout_seconds=job.dispatch_timeout_seconds,
        result_timeout_seconds=job.result_timeout_seconds,
        needs=preference_of(job.initial_data),
    )
    return open_task(plan, job, task, steps=steps, current_state=plan.start)


def finished(job: Job, task: Task, event: Result, entry: HistoryEntry) -> Step:
    """End *job* with the result of its *task*, whatever its outcome is called; *entry* records it."""
    closed = close(job, task, entry)
    data = event.data
    return closed.then(end(closed.job, JobStatus.FINISHED, {"result": data}, result=data, error=None))
