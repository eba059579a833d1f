"""What workers over HTTP send. Fields that we do not know are left alone: workers are older and newer than we are."""

from __future__ import annotations

from typing import Any

from marshmallow import EXCLUDE, Schema, fields, pre_load, validate

from avtomatika.core.placement.cached_files import MOST_FILES

from .fields import MAX_ID_LENGTH

#: Most skills of a worker, and most tasks in one heartbeat.
_MOST_NAMES = 1_000
#: Longest name of a delivery, or of a consumer.
_LONGEST_TAG = 1_000
#: Longest message of a progress, in characters.
_LONGEST_MESSAGE = 10_000


def _id(**options: Any) -> fields.String:
    return fields.String(validate=validate.Length(min=1, max=MAX_ID_LENGTH), **options)


def _names() -> Any:
    return fields.List(_id(), validate=validate.Length(max=_MOST_NAMES))


class _Open(Schema):
    class Meta:
        unknown = EXCLUDE

    @pre_load
    def without_nulls(self, body: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Null is the same as not there."""
        return {name: value for name, value in body.items() if value is not None}


class SkillSchema(_Open):
    name = _id(required=True)
    input_schema = fields.Raw()


class RegistrationSchema(_Open):
    """``concurrency``: how many tasks it does at a time, where it says so; ``current_tasks``: what it has in hand.

    What is raw may be anything: whoever keeps it takes what makes sense.
    """

    worker_id = _id(required=True)
    worker_type = fields.String(load_default="")
    version = fields.String(load_default="", validate=validate.Length(max=MAX_ID_LENGTH))
    concurrency = fields.Integer(strict=True, validate=validate.Range(min=1))
    supported_skills = fields.List(
        fields.Nested(SkillSchema), load_default=list, validate=validate.Length(max=_MOST_NAMES)
    )
    current_tasks = fields.List(_id(), load_default=list, validate=validate.Length(max=_MOST_NAMES))
    resources = fields.Raw()
    capabilities = fields.Raw()
    timestamp = fields.Integer(strict=True)


class ClaimSchema(_Open):
    """A task as it came by the broker: ``tag`` is its delivery, ``ticket`` shows that it was given to the worker."""

    task_id = _id(required=True)
    attempt = fields.Integer(strict=True, required=True, validate=validate.Range(min=1))
    ticket = fields.String(required=True, validate=validate.Length(max=MAX_ID_LENGTH))
    tag = fields.String(required=True, validate=validate.Length(max=_LONGEST_TAG))


class AdoptionSchema(_Open):
    """Tasks that the worker holds on the broker as ``consumer``, and cannot answer there."""

    worker_id = _id(required=True)
    consumer = fields.String(required=True, validate=validate.Length(min=1, max=_LONGEST_TAG))
    tasks = fields.List(fields.Nested(ClaimSchema), required=True, validate=validate.Length(max=_MOST_NAMES))


class LinkSchema(_Open):
    """``state``: ``in_use``, ``standby`` or ``down``, as the worker sees it."""

    address = fields.String(required=True, validate=validate.Length(max=1_000))
    state = fields.String(required=True, validate=validate.OneOf(("in_use", "standby", "down")))


class HeartbeatSchema(_Open):
    """Without ``current_tasks`` it only says that the worker lives; ``timestamp`` is in seconds of its clock.

    ``hands_back``: what is not among the current tasks is for others, at once. ``running`` is how many tasks it does,
    over all its ``links``; ``standby``: it takes its tasks elsewhere as long as it can; ``switches``: how often another
    link came to be in charge; ``unfit``: the reason why it cannot do some of its skills for now; ``holds``: digests of
    files that it has at hand (``core.holdings``), where that changed.
    """

    worker_id = _id()
    status = fields.String(validate=validate.Length(max=MAX_ID_LENGTH))
    current_tasks = _names()
    hands_back = fields.Boolean(load_default=False)
    running = fields.Integer(strict=True, validate=validate.Range(min=0))
    standby = fields.Boolean(load_default=False)
    links = fields.List(fields.Nested(LinkSchema), load_default=list, validate=validate.Length(max=_MOST_NAMES))
    switches = fields.Integer(strict=True, load_default=0, validate=validate.Range(min=0))
    holds = fields.List(_id(), validate=validate.Length(max=MOST_FILES))
    unfit = fields.Raw()
    timestamp = fields.Integer(strict=True)


class EventSchema(_Open):
    """Something that happened to a worker, or to the task that it has in hand."""

    worker_id = _id(required=True)
    event_type = _id(required=True)
    target_task_id = _id()
    payload = fields.Dict(keys=fields.String(), load_default=dict)
    timestamp = fields.Integer(strict=True)


class ProgressSchema(_Open):
    """The payload of a ``progress`` event."""

    progress = fields.Float(required=True, validate=validate.Range(0, 1))
    message = fields.String(load_default="", validate=validate.Length(max=_LONGEST_MESSAGE))


class RefreshSchema(_Open):
    refresh_token = fields.String(required=True, validate=validate.Length(min=1, max=MAX_ID_LENGTH))


class ErrorSchema(Schema):
    """Further members are kept."""

    class Meta:
        unknown = "include"

    code = fields.String(load_default="PERMANENT_ERROR")
    message = fields.String(load_default="")


class AnswerSchema(_Open):
    """A result: without a status it is a success."""

    job_id = _id(required=True)
    task_id = _id(required=True)
    worker_id = _id(required=True)
    attempt = fields.Integer(strict=True, validate=validate.Range(min=1))
    status = _id(load_default="success")
    data = fields.Dict(keys=fields.String(), load_default=None, allow_none=True)
    error = fields.Nested(ErrorSchema, load_default=None, allow_none=True)
    costs = fields.Dict(keys=fields.String(), load_default=dict)
    timestamp = fields.Integer(strict=True)
