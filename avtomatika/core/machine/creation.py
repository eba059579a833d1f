"""Creation of jobs."""

from avtomatika.core.data_checks import check_input
from avtomatika.core.events import Start
from avtomatika.core.job import HistoryEntry, Job, Json, Parent
from avtomatika.core.job_request import ON_CONFLICT, WAITING, JobRequest
from avtomatika.core.plan import Plan
from avtomatika.core.step import SendEvent, Step
from avtomatika.errors import InvalidRequestError

from .rerun import StartPoint
from .single_task import dispatch
from .tasks import given
from .timers import deadline_timer, start_timer


def new_job(
    plan: Plan,
    request: JobRequest,
    *,
    job_id: str,
    client: str,
    parent: Parent | None = None,
    task_retries: int | None = None,
    point: StartPoint | None = None,
) -> Step:
    """Return the first step of a job: version 0, its first history entry, and the message or timer that starts it.

    A single task has *task_retries* by default. A job that continues another one starts at a *point* of it. Raises
    InvalidRequestError if its data do not fit the blueprint's input type, or give no fairness key.
    """
    wanted = request.request_fields() | {"initial_data": check_input(plan, request.initial_data)}
    if request.skill is not None:
        wanted["max_retries"] = given(request.max_retries, task_retries)
    wanted["fairness_key"] = given(request.fairness_key, plan.fairness_key and plan.fairness_key.render(wanted))
    own_key = None if parent is not None or plan.unique_key is None else plan.unique_key.render(wanted)
    wanted["unique_key"] = given(request.unique_key, own_key)
    if wanted["unique_key"] is not None:
        wanted["on_conflict"] = given(request.on_conflict, given(plan.on_conflict, ON_CONFLICT[0]))
    elif request.on_conflict is not None:
        raise InvalidRequestError("on_conflict needs a unique_key", fields={"on_conflict": ["needs a unique_key"]})
    wanted["execution_timeout_seconds"] = given(request.execution_timeout_seconds, plan.execution_timeout_seconds)
    point = point or StartPoint(plan.start)
    job = Job.of(
        id=job_id,
        blueprint=plan.blueprint,
        plan_hash=plan.plan_hash,
        current_state=point.state,
        client=client,
        parent=parent,
        state_history=point.state_history,
        result=point.result,
        error=point.error,
        kept=point.kept,
        **wanted,
    )
    data: dict[str, Json] = {"client": client, "plan": plan.plan_hash}
    data |= {name: value for name in ("retry_of", "fork_of") if (value := getattr(job, name)) is not None}
    data |= point.facts()
    if parent is not None:
        data["parent_id"] = parent.job_id
    if job.execution_timeout_seconds is not None:
        data["execution_timeout"] = job.execution_timeout_seconds
    created = Step(
        job,
        history=(HistoryEntry("job_created", state=job.current_state, data=data),),
        timers=deadline_timer(plan, job),
    )
    return created.then(_first_step(plan, job))


def _first_step(plan: Plan, job: Job) -> Step:
    start = SendEvent(plan.key(plan.start, "_start"), Start(job.id))
    if job.delay_seconds is not None or job.at_ms is not None:
        return Step(job, timers=(start_timer(plan, job),))
    if job.on_conflict in WAITING:  # the store keeps either the message or the timer
        return Step(job, outgoing=(start,), timers=(start_timer(plan, job),))
    if plan.states[plan.start].ends_with_task:
        return dispatch(plan, job)
    return Step(job, outgoing=(start,))
