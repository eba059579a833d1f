"""Bodies and queries of the HTTP API.

Validation is strict: no text for numbers, no unknown fields.
"""

import re
from typing import Any

from marshmallow import RAISE, Schema, fields
from marshmallow.validate import Length, OneOf, Range, Regexp

from .answers import Job
from .api_fields import (
    FutureTime,
    Seconds,
    Whole,
    Words,
    about,
)

#: Printable ASCII, because an error may show it.
IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
#: Longest time, in seconds, that a request may wait for a job to change; Heroku's router gives up at 30.
LONGEST_WAIT_SECONDS = 25
#: Maximum number of jobs or messages in a page.
LARGEST_PAGE = 200
#: Maximum length of a comment, which becomes part of the history.
LONGEST_COMMENT = 2000
#: Default lifetime of a link.
LINK_SECONDS = 7 * 24 * 3600
#: Maximum number of history events in a page.
LARGEST_HISTORY_PAGE = 1000
#: Maximum ticks of a schedule in a request.
MOST_TICKS = 1000

#: Options of a field that may be missing or null.
OPTIONAL: dict[str, Any] = {"load_default": None, "allow_none": True}
OBJECT_MESSAGES: dict[str, Any] = {"invalid": "must be a JSON object"}
_STRICT_MESSAGES = {"unknown": "there is no such field", "type": "must be a JSON object"}
#: Positions in a history, which is a list in the store.
_PLACES = Range(0, 2**63 - 1)
TIME = {"type": "string", "format": "date-time"}


class Strict(Schema):
    """A body or a query without unknown fields."""

    class Meta:
        unknown = RAISE

    error_messages = _STRICT_MESSAGES


class JobQuerySchema(Strict):
    """Options for showing a job."""

    wait = fields.Float(
        load_default=0.0,
        validate=Range(0, LONGEST_WAIT_SECONDS),
        metadata=about("maximum number of seconds to wait until the job changes or ends"),
    )
    shown = Words(
        Job.__annotations__,
        error="there are",
        data_key="fields",
        load_default=(),
        metadata=about("comma-separated names of the fields to return"),
    )


class HistoryQuerySchema(Strict):
    """A range of a history."""

    after = fields.Integer(load_default=0, validate=_PLACES, metadata=about("a `seq`, or `next`"))
    limit = fields.Integer(load_default=LARGEST_HISTORY_PAGE, validate=Range(1, LARGEST_HISTORY_PAGE))


class EventsQuerySchema(Strict):
    """The start of the event stream; the header ``Last-Event-ID`` takes precedence."""

    after = fields.Integer(load_default=0, validate=_PLACES, metadata=about("a `seq`"))


class StreamQuerySchema(Strict):
    """The start of the stream of a job. With ``limit`` or ``wait`` the answer is one page of JSON."""

    after = fields.Integer(load_default=0, validate=_PLACES, metadata=about("a `seq`, or `next`"))
    limit = fields.Integer(load_default=None, validate=Range(1, LARGEST_HISTORY_PAGE))
    wait = fields.Float(
        load_default=None,
        validate=Range(0, LONGEST_WAIT_SECONDS),
        metadata=about("seconds that the request is held until there are new entries"),
    )


class ScalingQuerySchema(Strict):
    """A skill, how long its tasks may wait, and the tasks that a worker runs at a time, 0 for that of its workers."""

    skill = fields.String(required=True, validate=Length(1, 64))
    target_seconds = fields.Float(load_default=10.0, validate=Range(0.1, 86_400))
    slots_per_worker = fields.Integer(load_default=0, validate=Range(0, 10_000))


class GraphQuerySchema(Strict):
    """The format of a graph, by default the one of the ``Accept`` header."""

    format = fields.String(load_default=None, validate=OneOf(["dot", "svg", "png", "json"]))


class BlueprintGraphQuerySchema(GraphQuerySchema):
    """Options for the graph of a blueprint."""

    live = fields.Boolean(load_default=False, metadata=about("include the state of its jobs and queues; for operators"))


class ApprovalSchema(Strict):
    """A decision."""

    decision = fields.String(required=True, metadata=about("one of `waiting_for.decisions`"))
    comment = fields.String(**OPTIONAL, validate=Length(max=LONGEST_COMMENT))
    data = fields.Dict(
        keys=fields.String(),
        **OPTIONAL,
        error_messages=OBJECT_MESSAGES,
        metadata=about("as in `waiting_for.form`, which is null if the approval asks for no data"),
    )


class SignalSchema(Strict):
    """A signal."""

    data = fields.Dict(
        keys=fields.String(),
        **OPTIONAL,
        error_messages=OBJECT_MESSAGES,
        metadata=about("as in `waiting_for.form`, once the job waits for it"),
    )
    idempotency_key = fields.String(
        **OPTIONAL,
        validate=Regexp(rf"^{IDEMPOTENCY_KEY.pattern}$(?!\n)"),
        metadata=about("instead of the header `Idempotency-Key`"),
    )


class LinkRequestSchema(Strict):
    """A request for a link with which a person without a token can decide."""

    expires_in = Seconds(
        load_default=LINK_SECONDS,
        metadata={
            "description": "lifetime in seconds, limited by the deadline of the approval",
            "default": LINK_SECONDS,
        },
    )
    recipient = fields.String(
        **OPTIONAL,
        validate=Length(1, 64),
        metadata=about("whom it is for: a client that may decide, if the approval names some"),
    )


class LoginLinkRequestSchema(Strict):
    """Which page the link opens."""

    page = fields.String(**OPTIONAL, metadata=about("path of the page, by default the overview"))


class MessageQuerySchema(Strict):
    """Limit for messages."""

    limit = fields.Integer(load_default=20, validate=Range(1, LARGEST_PAGE))


class DeadLetterQuerySchema(Strict):
    """Filters for dead letters."""

    queue = fields.String(load_default=None)
    limit = fields.Integer(load_default=50, validate=Range(1, LARGEST_PAGE))


_SCHEDULE = {
    "string": ("blueprint", "skill", "cron", "interval", "daily_at", "timezone", "overlap"),
    **{"array": ("weekly_days", "monthly_dates"), "object": ("initial_data", "labels")},
    **{"boolean": ("enabled", "catch_up"), "integer": ("priority",)},
}
#: A schedule, whose fields ``core.schedule`` checks.
ScheduleSchema = Strict.from_dict(
    {name: fields.Raw(metadata={"type": kind}) for kind, names in _SCHEDULE.items() for name in names},
    name="ScheduleSchema",
)


class LimitSchema(Strict):
    """The values of a limit, which ``core.limits`` checks."""

    concurrency = Whole(
        **OPTIONAL,
        metadata={"minimum": 1, "maximum": 1_000_000},
        error_messages={"invalid": "must be a whole number from 1 to 1000000"},
    )
    rate = fields.Raw(**OPTIONAL, metadata={"type": "string", "pattern": "^[1-9][0-9]{0,8}/[smhd]$"})


class ScheduleQuerySchema(Strict):
    """The number of next ticks."""

    ticks = fields.Integer(load_default=1, validate=Range(0, MOST_TICKS))


class BackfillSchema(Strict):
    """A range of ticks, both ends included, that ends in the past."""

    from_ms = FutureTime(data_key="from", required=True, metadata=about("with a time zone", **TIME))
    to_ms = FutureTime(data_key="to", required=True, metadata=about("with a time zone", **TIME))
    dry_run = fields.Boolean(load_default=False, metadata=about("only list the ticks"))
