"""Fan-out and fan-in: parallel tasks, and one state that joins their results.

Branches are stored separately from the job, so that a job with ten thousand branches is not rewritten when one of them
ends. A branch that succeeds does not load its job: the commit that stores its result decrements a counter, and the one
that reaches zero sends ``Joined``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from avtomatika.core.blueprint.action_types import FanOut, RunBlueprint
from avtomatika.core.events import Joined, NextBranches
from avtomatika.core.job import Branches, HistoryEntry, Job, JobStatus, Json, Task
from avtomatika.core.plan import Plan
from avtomatika.core.rules import Rules
from avtomatika.core.step import BranchEnd, SendEvent, Step

from .children import child_of, fault_in, first_step_of_branch, new_branch, with_children
from .moves import break_off, drop_branches, end, enter_state, ignore
from .placement import send
from .tasks import dispatched, kept_result, new_task, retry_of
from .timers import dispatch_timer

#: Maximum number of branches sent in one commit; further commits send the rest. Children cost the server more.
CHUNK = 1000
CHUNK_WITH_CHILDREN = 250


def fan_out(plan: Plan, job: Job, action: FanOut, *, rules: Rules, queue: str | None, kept: Mapping[str, Json]) -> Step:
    """Store all branches and send the first; without branches, enter the aggregator at once.

    Branches whose results are among *kept* have ended already, unless the first success is enough.
    """
    children = [branch for branch in action.branches if isinstance(branch, RunBlueprint)]
    if (fault := fault_in(job, children, rules)) is not None:
        return break_off(job, fault)
    branches = Branches(
        job.steps + 1,
        str(job.current_state),
        action.aggregator,
        size=len(action.branches),
        sent=0,
        max_concurrency=action.max_concurrency,
        has_children=bool(children) or None,
        finishes_all=action.finishes_all or None,
        max_failures=action.max_failures or None,
        first_success=action.first_success or None,
    )
    job = job.evolve(steps=branches.step, fan_out=branches)
    if not action.branches:
        return _join(plan, job, branches, queue=queue)
    tasks = list(_tasks(plan, job, action, rules))
    kept = {} if action.first_success else kept
    ended = {task.id: result for task in tasks if (result := kept_result(kept, task)) is not None}
    missing = {task.id: task for task in tasks if task.id not in ended}
    job = job.evolve(status=JobStatus.WAITING_FOR_PARALLEL, tasks=missing)
    reused = Step(
        job,
        history=tuple(HistoryEntry.of_task("branch_kept", task) for task in tasks if task.id in ended),
        ended=tuple(BranchEnd(task_id, result) for task_id, result in ended.items()),
        joined=SendEvent(plan.key(branches.state, "_joined"), Joined(job.id, branches.step)) if ended else None,
    )
    return reused.then(_send(plan, job, _next_tasks(job, branches), rules))


def next_numbers(branches: Branches) -> range:
    """Return the numbers of the branches that the next commit sends."""
    chunk = CHUNK_WITH_CHILDREN if branches.has_children else CHUNK
    return range(branches.sent + 1, min(branches.sent + chunk, branches.size) + 1)


def _next_tasks(job: Job, branches: Branches) -> list[Task]:
    """Return those of the next branches that have not ended before the fan-out began."""
    ids = (f"{job.id}.{branches.step}.{number}" for number in next_numbers(branches))
    return [job.tasks[task_id] for task_id in ids if task_id in job.tasks]


def next_branches(plan: Plan, job: Job, event: NextBranches, rules: Rules) -> Step:
    """Send the next branches, which were loaded into ``job.tasks``."""
    branches = job.fan_out
    if branches is None or (branches.step, branches.sent) != (event.step, event.sent):
        return ignore(job, event, "the job does not wait to send these branches")
    tasks = _next_tasks(job, branches)
    children = (child_of(task) for task in tasks if task.blueprint is not None)
    if (fault := fault_in(job, children, rules)) is not None:  # the blueprint has changed since
        return break_off(job, fault)
    return _send(plan, job, tasks, rules)


def joined(plan: Plan, job: Job, event: Joined, *, queue: str | None) -> Step:
    """Enter the aggregator: all branches have ended."""
    branches = job.fan_out
    if branches is None or branches.step != event.step or job.status is not JobStatus.WAITING_FOR_PARALLEL:
        return ignore(job, event, "the job does not wait for these branches any more")
    return _join(plan, job, branches, queue=queue)


def _join(plan: Plan, job: Job, branches: Branches, *, queue: str | None) -> Step:
    failure = branches.failure if branches.failure is not None and branches.has_failed else {}
    target = failure.get("go_to") if failure else branches.aggregator
    data = {"branches": branches.size, "failed": branches.failed, "error": failure.get("error"), "go_to": target}
    told = {name: value for name, value in data.items() if value is not None}
    entry = HistoryEntry("branches_joined", state=branches.state, data=told)
    if not failure:
        return Step(job, history=(entry,)).then(enter_state(plan, job, branches.aggregator, queue=queue))
    left = drop_branches(job.evolve(error=failure["error"]))
    joined = left.then(Step(left.job, history=(entry,)))
    if target is None:
        return joined.then(end(left.job, JobStatus.FAILED, {"error": failure["error"]}))
    return joined.then(enter_state(plan, left.job, target, queue=queue))


def _tasks(plan: Plan, job: Job, action: FanOut, rules: Rules) -> Iterator[Task]:
    retry = retry_of(plan, rules)
    for number, branch in enumerate(action.branches, start=1):
        if isinstance(branch, RunBlueprint):
            yield new_branch(job, branch, branch=number)
        else:
            yield new_task(job, branch, branch=number, retry=retry)


def _send(plan: Plan, job: Job, branches_to_send: list[Task], rules: Rules) -> Step:
    branches = job.fan_out
    if branches is None:
        raise ValueError(f"job {job.id} has no fan-out")
    tasks = [task for task in branches_to_send if task.blueprint is None]
    children = [task for task in branches_to_send if task.blueprint is not None]
    branches = replace(branches, sent=next_numbers(branches).stop - 1)
    job = with_children(job.evolve(fan_out=branches), *(task.child_id for task in children))
    rest: tuple[SendEvent, ...] = ()
    if branches.sent < branches.size:
        more = NextBranches(job.id, branches.step, branches.sent)
        rest = (SendEvent(plan.key(branches.state, "_branches"), more),)
    return Step(
        job,
        history=tuple(dispatched(task) for task in branches_to_send),
        outgoing=(*(sent for task in tasks for sent in send(plan, job, task)), *rest),
        timers=tuple(timer for task in tasks for timer in dispatch_timer(plan, job, task)),
        opened=tuple((task.id, task.attempt) for task in branches_to_send),
        children=tuple(first_step_of_branch(plan, job, task, rules) for task in children),
    )
