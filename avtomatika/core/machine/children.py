"""Child jobs: the first step of one that a job waits for, or that is a branch of its fan-out."""

from collections.abc import Iterable

from avtomatika.core.blueprint.action_types import RunBlueprint
from avtomatika.core.data_checks import check_input
from avtomatika.core.job import Job, Json, Parent, Task
from avtomatika.core.job_request import JobRequest
from avtomatika.core.names import MOST_LABELS
from avtomatika.core.plan import Plan
from avtomatika.core.rules import Rules
from avtomatika.core.step import Step
from avtomatika.errors import InvalidRequestError

from .creation import new_job
from .moves import error
from .tasks import given

#: Maximum nesting depth of child jobs.
MAX_DEPTH = 10
#: The label of child jobs, by which they are listed: the id of their parent.
PARENT_LABEL = "parent"
#: Maximum number of children whose ids a job keeps.
_MOST_CHILDREN = 100


def new_branch(job: Job, child: RunBlueprint, *, branch: int) -> Task:
    """Return the branch of the current step that runs *child*; *branch* counts from 1."""
    return Task(
        id=f"{job.id}.{job.steps}.{branch}",
        task_type="",
        state=str(job.current_state),
        transitions=child.transitions,
        params=child.initial_data,
        max_retries=0,
        priority=given(child.priority, job.priority),
        blueprint=child.name,
        labels=child.labels or None,
        time_limit_seconds=child.time_limit_seconds,
    )


def child_of(branch: Task) -> RunBlueprint:
    """Return the child job that *branch* runs."""
    name, labels, limit = str(branch.blueprint), branch.labels or {}, branch.time_limit_seconds
    return RunBlueprint(name, branch.params, branch.transitions, branch.priority, labels, limit)


def fault_in(job: Job, children: Iterable[RunBlueprint], rules: Rules) -> dict[str, Json] | None:
    """Return the first error in *children*, which *job* then cannot start."""
    return next(filter(None, (_fault_of(job, child, rules) for child in children)), None)


def _fault_of(job: Job, child: RunBlueprint, rules: Rules) -> dict[str, Json] | None:
    if child.name not in rules.plans:
        there_are = ", ".join(sorted(rules.plans)) or "none"
        message = f"this orchestrator does not serve the blueprint {child.name!r}; it serves: {there_are}"
        return error("UNKNOWN_BLUEPRINT", message)
    if _depth(job) > MAX_DEPTH:
        return error("TOO_DEEP", f"child jobs are nested at most {MAX_DEPTH} deep")
    if len(_labels(job, child)) > MOST_LABELS:
        return error("INVALID_LABELS", f"run_blueprint({child.name!r}): a job has at most {MOST_LABELS} labels")
    try:
        check_input(rules.plans[child.name], child.initial_data)
    except InvalidRequestError as problem:
        return error("INVALID_INITIAL_DATA", f"run_blueprint({child.name!r}): {problem}")
    return None


def first_step(
    plan: Plan, job: Job, child: RunBlueprint, rules: Rules, *, child_id: str, task_id: str | None = None
) -> Step:
    """Return the first step of a *child* of *job* without a fault; *task_id* is the branch that it is."""
    request = JobRequest(
        initial_data=child.initial_data,
        priority=given(child.priority, job.priority),
        fairness_key=job.fairness_key,
        labels=_labels(job, child),
        execution_timeout_seconds=child.time_limit_seconds,
        traceparent=job.traceparent,
    )
    parent = Parent(job.id, plan.key(str(job.current_state), "_child"), _depth(job), task_id)
    return new_job(rules.plans[child.name], request, job_id=child_id, client=job.client, parent=parent)


def first_step_of_branch(plan: Plan, job: Job, branch: Task, rules: Rules) -> Step:
    """Return the first step of the child job that *branch* runs."""
    return first_step(plan, job, child_of(branch), rules, child_id=branch.child_id, task_id=branch.id)


def with_children(job: Job, *child_ids: str) -> Job:
    """Return *job* with the ids of further children."""
    return job.evolve(children=(*job.children, *child_ids)[-_MOST_CHILDREN:])


def _labels(job: Job, child: RunBlueprint) -> dict[str, str]:
    return {**job.labels, PARENT_LABEL: job.id, **child.labels}


def _depth(job: Job) -> int:
    """Return the nesting depth of children of *job*."""
    return 1 if job.parent is None else job.parent.depth + 1
