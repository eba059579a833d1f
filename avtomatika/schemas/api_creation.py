"""Bodies of requests that create jobs and single tasks."""

from typing import Any

from marshmallow import ValidationError, fields, validates_schema
from marshmallow.validate import Length, OneOf, Range

from avtomatika.core.job_request import ON_CONFLICT
from avtomatika.core.plan import Plan
from avtomatika.core.value_types import object_type

from .api_fields import (
    LABEL_NAMES,
    LABEL_VALUES,
    FutureTime,
    Seconds,
    Whole,
    about,
    check_label_name,
    check_label_value,
    check_labels,
    check_webhook_url,
)
from .api_requests import OBJECT_MESSAGES, OPTIONAL, TIME, Strict

#: Maximum number of jobs in a batch.
LARGEST_BATCH = 1000
_PRIORITIES = Range(0, 9, error="must be 0 to 9; higher is sooner")


def _key(text: str) -> fields.String:
    return fields.String(**OPTIONAL, validate=check_label_value, metadata=about(text, **LABEL_VALUES))


class _RequestSchema(Strict):
    """The common part of requests for jobs and single tasks."""

    webhook_url = fields.String(**OPTIONAL, validate=[Length(max=2048), check_webhook_url], metadata={"format": "uri"})
    dispatch_timeout = Seconds(**OPTIONAL)
    execution_timeout = Seconds(**OPTIONAL, metadata=about("time limit of the whole job, in seconds"))
    priority = Whole(load_default=0, validate=_PRIORITIES, error_messages={"invalid": "must be a whole number, 0 to 9"})
    fairness_key = _key("tasks of different keys take turns; by default those of different clients")
    unique_key = _key("only one of the client's jobs with this key runs at a time")
    on_conflict = fields.String(
        **OPTIONAL,
        validate=OneOf(ON_CONFLICT),
        metadata=about("if a job with the same unique_key has not ended, by default return_existing"),
    )
    labels = fields.Dict(
        keys=fields.String(validate=check_label_name),
        values=fields.String(validate=check_label_value, metadata=LABEL_VALUES),
        validate=check_labels,
        load_default=dict,
        error_messages=OBJECT_MESSAGES,
        metadata=LABEL_NAMES,
    )
    delay = Seconds(**OPTIONAL, metadata=about("seconds until it starts"))
    at_ms = FutureTime(data_key="at", **OPTIONAL, metadata=about("when it starts, with a time zone", **TIME))

    @validates_schema
    def _check_start(self, data: dict[str, Any], **_: object) -> None:
        if data.get("delay") is not None and data.get("at_ms") is not None:
            raise ValidationError("give delay or at, not both", "at")


class JobRequestSchema(_RequestSchema):
    """A request for a job."""

    initial_data = fields.Dict(
        keys=fields.String(),
        load_default=dict,
        error_messages=OBJECT_MESSAGES,
        metadata=about("the input of the job, which handlers read"),
    )
    result_timeout = Seconds(**OPTIONAL)


class TaskRequestSchema(_RequestSchema):
    """A request for a single task."""

    initial_data = fields.Dict(
        data_key="params", keys=fields.String(), load_default=dict, error_messages=OBJECT_MESSAGES
    )
    max_retries = Whole(
        data_key="retries",
        **OPTIONAL,
        validate=Range(0, 1000),
        metadata=about("maximum number of retries, by default `JOB_MAX_RETRIES`"),
    )
    result_timeout = Seconds(
        data_key="time_limit", **OPTIONAL, metadata=about("seconds from the start of an attempt until its result")
    )


def _batch_of(schema: type[_RequestSchema], name: str, key: str) -> type[Strict]:
    """Return the schema *name* of several requests under *key*: all jobs are created, or none."""
    requests: fields.List[Any] = fields.List(
        fields.Nested(schema),
        required=True,
        validate=Length(1, LARGEST_BATCH, error=f"must be 1 to {LARGEST_BATCH} {key}"),
        error_messages={"invalid": f"must be a list of {key}", "required": "is missing"},
    )
    return type(name, (Strict,), {key: requests})


TaskBatchSchema = _batch_of(TaskRequestSchema, "TaskBatchSchema", "tasks")
BatchRequestSchema = _batch_of(JobRequestSchema, "BatchRequestSchema", "jobs")


def request_schema(plan: Plan) -> type[JobRequestSchema]:
    """Return the schema of a request for a job of *plan*. Its input type is documented here; the store checks it."""
    if plan.input is None:
        return JobRequestSchema
    shown = {"description": f"the input of the blueprint {plan.blueprint}"} | dict(object_type(plan.input).schema)
    initial_data = fields.Dict(keys=fields.String(), load_default=dict, error_messages=OBJECT_MESSAGES, metadata=shown)
    return type(f"{plan.blueprint}JobRequestSchema", (JobRequestSchema,), {"initial_data": initial_data})


def batch_schema(plan: Plan, schema: type[JobRequestSchema]) -> type[Strict]:
    """Return the schema of a request for several jobs of *plan*, each as in *schema*."""
    name = f"{plan.blueprint}BatchRequestSchema"
    return BatchRequestSchema if plan.input is None else _batch_of(schema, name, "jobs")
