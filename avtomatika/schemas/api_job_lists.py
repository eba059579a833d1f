"""Queries and bodies of the HTTP API about many jobs: filters, counts and actions."""

from typing import Any

from marshmallow import ValidationError, fields, validates_schema
from marshmallow.validate import Length, OneOf, Range, Regexp

from avtomatika.core.job import JobStatus
from avtomatika.core.machine.rerun import FAILED_STATE
from avtomatika.core.names import JOB_ID, MOST_LABELS

from .api_fields import TIME_OR_AGE, Label, PastTime, Words, about
from .api_requests import LARGEST_PAGE, LONGEST_COMMENT, OPTIONAL, Strict

#: Maximum number of jobs that one request acts on.
MOST_JOBS = 500
#: Action -> statuses of the jobs that it applies to.
APPLICABLE = {
    "cancel": tuple(status for status in JobStatus if not status.is_final),
    "retry": (JobStatus.QUARANTINED, JobStatus.FAILED, JobStatus.ERROR, JobStatus.CANCELLED),
    "approve": (JobStatus.WAITING_FOR_HUMAN,),
    "reject": (JobStatus.WAITING_FOR_HUMAN,),
}
_NAME = Length(1, 256)


class JobFilterSchema(Strict):
    """Filters for jobs; a job must match all of them."""

    status = Words(
        list(JobStatus),
        error="must be statuses of jobs, separated by commas:",
        load_default=None,
        metadata=about("one status, or several with commas", example="failed,error"),
    )
    blueprint = fields.String(load_default=None, validate=_NAME)
    state = fields.String(load_default=None, validate=_NAME, metadata=about("the current state"))
    skill = fields.String(load_default=None, validate=_NAME, metadata=about("single tasks of this skill"))
    client = fields.String(load_default=None, validate=_NAME, metadata=about("for operators"))
    labels = fields.List(
        Label(metadata={"type": "string", "pattern": "^[^=]+="}),
        data_key="label",
        load_default=(),
        validate=Length(max=MOST_LABELS),
        metadata=about("name=value; repeat it to list jobs that have all of the labels"),
    )
    created_after = PastTime(
        load_default=None,
        metadata=about("a time, or an age such as 90m or 1d", type="string", example="1d", **TIME_OR_AGE),
    )
    created_before = PastTime(load_default=None, metadata=about("as created_after", type="string", **TIME_OR_AGE))
    text = fields.String(
        load_default=None,
        validate=Length(1, 200),
        metadata=about("part of the code or message of the error, or of the question, without regard to case (ASCII)"),
    )
    mine = fields.Boolean(
        load_default=False, metadata=about("jobs whose approval names the caller or one of its roles")
    )


class JobListQuerySchema(JobFilterSchema):
    """A page of the jobs that match."""

    limit = fields.Integer(load_default=50, validate=Range(1, LARGEST_PAGE))
    cursor = fields.String(load_default=None, metadata=about("`next` of the previous page"))
    archived = fields.Boolean(
        load_default=False, metadata=about("also the jobs of the archive, which the server has deleted after their end")
    )
    oldest_first = fields.Boolean(load_default=False, metadata=about("the oldest jobs first, instead of the newest"))


class RetryQuerySchema(Strict):
    """Where a rerun starts."""

    start = fields.String(
        data_key="from",
        load_default=FAILED_STATE,
        validate=_NAME,
        metadata=about("`failed_state`: where the job failed, with its data there; `start`; or the name of a state"),
    )


def _check_point(value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValidationError("must be the name of a state or the `seq` of a history entry")


class ForkSchema(Strict):
    """Where a fork starts, and which of its data differ."""

    at = fields.Raw(
        required=True,
        validate=_check_point,
        metadata=about(
            "a state, `start`, or the `seq` of a history entry", anyOf=[{"type": "string"}, {"type": "integer"}]
        ),
    )
    changes = fields.Dict(
        data_key="set",
        keys=fields.String(),
        load_default=dict,
        metadata=about("data to change, by key: in `initial_data` if only that has the key, else in `state_history`"),
    )


class ActionRequestSchema(RetryQuerySchema):
    """An action on the jobs with these ids, or on those that match a filter."""

    action = fields.String(required=True, validate=OneOf(list(APPLICABLE)))
    ids = fields.List(
        fields.String(validate=Regexp(rf"^{JOB_ID.pattern}$(?!\n)")), load_default=None, validate=Length(1, MOST_JOBS)
    )
    filter = fields.Nested(JobFilterSchema, load_default=None)
    dry_run = fields.Boolean(
        load_default=False, truthy={True}, falsy={False}, metadata=about("count the jobs and change nothing")
    )
    comment = fields.String(**OPTIONAL, validate=Length(max=LONGEST_COMMENT))
    cursor = fields.String(**OPTIONAL, metadata=about("`next` of the previous response"))

    @validates_schema
    def _check_choice(self, data: dict[str, Any], **_: object) -> None:
        if (data.get("ids") is None) == (data.get("filter") is None):
            raise ValidationError("give ids or filter", "filter")
