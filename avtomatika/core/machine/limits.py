"""The limits of tasks that a blueprint defines, as they are sent with them."""

from contextlib import suppress

from avtomatika.core.job import Job, Json, Task
from avtomatika.core.plan import Plan
from avtomatika.errors import InvalidRequestError

from .moves import error


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
