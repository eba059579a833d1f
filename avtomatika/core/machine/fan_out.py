"""Fan-out and fan-in: parallel tasks, and one state that joins their results.

Branches are stored separately from the job, so that a job with ten thousand branches is not rewritten when one of them
ends. A branch that succeeds does not load its job: the commit that stores its result decrements a counter, and the one
that reaches zero sends ``Joined``.
"""

from dataclasses import replace

from avtomatika.core.blueprint.action_types import FanOut
from avtomatika.core.events import Joined, NextBranches
from avtomatika.core.job import Branches, HistoryEntry, Job, JobStatus, Task
from avtomatika.core.plan import Plan
from avtomatika.core.retry import RetryPolicy
from avtomatika.core.step import SendEvent, Step

from .moves import enter_state, ignore
from .placement import send
from .tasks import dispatched, new_task
from .timers import dispatch_timer

#: Maximum number of tasks sent in one commit; further commits send the rest.
CHUNK = 1000


def fan_out(plan: Plan, job: Job, action: FanOut, *, retry: RetryPolicy, queue: str | None) -> Step:
    """Store all branches and send the first; without branches, enter the aggregator at once."""
    step = job.steps + 1
    state = str(job.current_state)
    branches = Branches(step, state, action.aggregator, len(action.branches), 0, action.max_concurrency)
    job = job.evolve(steps=step, fan_out=branches)
    if not action.branches:
        return _join(plan, job, branches, queue=queue)
    tasks = [
        new_task(job, branch, branch=number, retry=retry) for number, branch in enumerate(action.branches, start=1)
    ]
    job = job.evolve(status=JobStatus.WAITING_FOR_PARALLEL, tasks={task.id: task for task in tasks})
    return _send(plan, job, tasks[:CHUNK])


def next_branches(plan: Plan, job: Job, event: NextBranches) -> Step:
    """Send the next branches, which were loaded into ``job.tasks``."""
    branches = job.fan_out
    if branches is None or (branches.step, branches.sent) != (event.step, event.sent):
        return ignore(job, event, "the job does not wait to send these branches")
    numbers = range(branches.sent + 1, min(branches.sent + CHUNK, branches.size) + 1)
    return _send(plan, job, [job.tasks[f"{job.id}.{branches.step}.{number}"] for number in numbers])


def joined(plan: Plan, job: Job, event: Joined, *, queue: str | None) -> Step:
    """Enter the aggregator: all branches have ended."""
    branches = job.fan_out
    if branches is None or branches.step != event.step or job.status is not JobStatus.WAITING_FOR_PARALLEL:
        return ignore(job, event, "the job does not wait for these branches any more")
    return _join(plan, job, branches, queue=queue)


def _join(plan: Plan, job: Job, branches: Branches, *, queue: str | None) -> Step:
    data = {"branches": branches.size, "go_to": branches.aggregator}
    entry = HistoryEntry("branches_joined", state=branches.state, data=data)
    return Step(job, history=(entry,)).then(enter_state(plan, job, branches.aggregator, queue=queue))


def _send(plan: Plan, job: Job, tasks: list[Task]) -> Step:
    branches = job.fan_out
    if branches is None:
        raise ValueError(f"job {job.id} has no fan-out")
    branches = replace(branches, sent=branches.sent + len(tasks))
    job = job.evolve(fan_out=branches)
    rest: tuple[SendEvent, ...] = ()
    if branches.sent < branches.size:
        more = NextBranches(job.id, branches.step, branches.sent)
        rest = (SendEvent(plan.key(branches.state, "_branches"), more),)
    return Step(
        job,
        history=tuple(dispatched(task) for task in tasks),
        outgoing=(*(sent for task in tasks for sent in send(plan, job, task)), *rest),
        timers=tuple(timer for task in tasks for timer in dispatch_timer(plan, job, task)),
        opened=tuple((task.id, task.attempt) for task in tasks),
    )
