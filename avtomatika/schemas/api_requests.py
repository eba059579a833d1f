"""Bodies and queries that the HTTP API takes.

What comes in is refused unless it is exactly of the kind named: no text for numbers, no unknown fields.
"""

from __future__ import annotations

from typing import Any

from marshmallow import RAISE, Schema, fields
from marshmallow.validate import ContainsOnly, Length, OneOf, Range

from avtomatika.core.job import JobStatus

from .api import JobSchema
from .api_fields import (
    MOST_LABELS,
    Label,
    Seconds,
    Words,
    check_label_name,
    check_label_value,
    check_labels,
    check_webhook_url,
)

#: Longest time, in seconds, that a request may wait for a job to change; Heroku's router gives up at 30.
LONGEST_WAIT_SECONDS = 25
#: Most jobs in one batch.
LARGEST_BATCH = 1000
#: Most jobs in one page.
LARGEST_PAGE = 200
#: Most history entries in one page.
LARGEST_HISTORY_PAGE = 1000

_OBJECT_MESSAGES: dict[str, Any] = {"invalid": "must be a JSON object"}
_STRICT_MESSAGES = {"unknown": "there is no such field", "type": "must be a JSON object"}
#: Places in a history: those of a list of the store.
_PLACES = Range(0, 2**63 - 1)
_PRIORITIES = Range(0, 9, error="must be 0 to 9; higher is sooner")


class Strict(Schema):
    """A body or a query in which nothing is ignored."""

    class Meta:
        unknown = RAISE

    error_messages = _STRICT_MESSAGES


class JobRequestSchema(Strict):
    """A job that is asked for."""

    initial_data = fields.Dict(
        keys=fields.String(),
        load_default=dict,
        error_messages=_OBJECT_MESSAGES,
        metadata={"description": "what handlers see"},
    )
    webhook_url = fields.String(validate=[Length(max=2048), check_webhook_url], load_default=None, allow_none=True)
    dispatch_timeout = Seconds(load_default=None, allow_none=True)
    result_timeout = Seconds(load_default=None, allow_none=True)
    execution_timeout = Seconds(
        load_default=None, allow_none=True, metadata={"description": "seconds the job may take as a whole"}
    )
    priority = fields.Integer(
        strict=True, load_default=0, validate=_PRIORITIES, error_messages={"invalid": "must be a whole number, 0 to 9"}
    )
    labels = fields.Dict(
        keys=fields.String(validate=check_label_name),
        values=fields.String(validate=check_label_value),
        validate=check_labels,
        load_default=dict,
        error_messages=_OBJECT_MESSAGES,
    )


class BatchRequestSchema(Strict):
    """Jobs that are asked for together: all are created, or none."""

    jobs = fields.List(
        fields.Nested(JobRequestSchema),
        required=True,
        validate=Length(1, LARGEST_BATCH, error=f"must be 1 to {LARGEST_BATCH} jobs"),
        error_messages={"invalid": "must be a list of jobs", "required": "is missing"},
    )


class JobListQuerySchema(Strict):
    """Which jobs to list."""

    status = fields.String(load_default=None, validate=OneOf([status.value for status in JobStatus]))
    blueprint = fields.String(load_default=None)
    labels = fields.List(
        Label(metadata={"type": "string"}),
        data_key="label",
        load_default=(),
        validate=Length(max=MOST_LABELS),
        metadata={"description": "name=value; given more than once: jobs that have all of them"},
    )
    limit = fields.Integer(load_default=50, validate=Range(1, LARGEST_PAGE))
    cursor = fields.String(load_default=None, metadata={"description": "`next` of the page before"})


class JobQuerySchema(Strict):
    """How to look at a job."""

    wait = fields.Float(
        load_default=0.0,
        validate=Range(0, LONGEST_WAIT_SECONDS),
        metadata={"description": "seconds to hold the answer until the job changes, or is over"},
    )
    shown = Words(
        data_key="fields",
        load_default=(),
        validate=ContainsOnly(list(JobSchema().fields), error="there are {choices}"),
        metadata={"type": "string", "description": "only these, with commas between"},
    )


class HistoryQuerySchema(Strict):
    """Which part of a history."""

    after = fields.Integer(load_default=0, validate=_PLACES, metadata={"description": "a `seq`, or `next`"})
    limit = fields.Integer(load_default=LARGEST_HISTORY_PAGE, validate=Range(1, LARGEST_HISTORY_PAGE))


class EventsQuerySchema(Strict):
    """From where on to follow a job; the header ``Last-Event-ID`` goes before it."""

    after = fields.Integer(load_default=0, validate=_PLACES, metadata={"description": "a `seq`"})


class GraphQuerySchema(Strict):
    """How to draw a graph; without it the ``Accept`` header decides."""

    format = fields.String(load_default=None, validate=OneOf(["dot", "svg", "png", "json"]))


class BlueprintGraphQuerySchema(GraphQuerySchema):
    """How to draw the graph of a blueprint."""

    live = fields.Boolean(
        load_default=False, metadata={"description": "with the figures of its jobs and queues; for operators"}
    )
