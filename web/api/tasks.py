"""Single tasks: jobs that run one skill, without a blueprint."""

from typing import Any

from flask import url_for

from avtomatika.core.machine.single_task import PLAN
from avtomatika.core.names import is_user_name
from avtomatika.errors import InvalidRequestError
from avtomatika.schemas.answers import SubmittedJob, SubmittedJobs
from avtomatika.schemas.api_creation import TaskBatchSchema, TaskRequestSchema
from avtomatika.store import CreatedJob

from ..routes import Routes
from .creation import IDEMPOTENCY_PARAMETER, create, create_many, new_job

routes = Routes("tasks", __name__, url_prefix="/api/v1/tasks", description="Run single tasks")


@routes.post("/<skill>", parameters=[IDEMPOTENCY_PARAMETER])
@routes.arguments(TaskRequestSchema)
@routes.response(202, SubmittedJob)
def create_task(wanted: dict[str, Any], skill: str) -> tuple[CreatedJob, dict[str, str]]:
    """Run a task: a job that ends with the result of one skill"""
    created = create(new_job(PLAN, wanted, skill=_checked(skill)))
    return created, {"Location": url_for("jobs.show_job", job_id=created.job_id)}


@routes.post("/<skill>/batch", parameters=[IDEMPOTENCY_PARAMETER])
@routes.arguments(TaskBatchSchema)
@routes.response(202, SubmittedJobs)
def create_tasks(wanted: dict[str, Any], skill: str) -> dict[str, list[str]]:
    """Run up to 1000 tasks of one skill: all are created, or none"""
    created = create_many([new_job(PLAN, each, skill=_checked(skill)) for each in wanted["tasks"]])
    return {"job_ids": [each.job_id for each in created]}


def _checked(skill: str) -> str:
    if not is_user_name(skill):
        reason = "a skill's name has 1 to 64 letters, digits, '_' and '-', and does not start with '_'"
        raise InvalidRequestError(f"there can be no skill {skill!r}: {reason}", fields={"skill": [reason]})
    return skill
