"""What workers over HTTP send. Fields that we do not know are left alone: workers are older and newer than we are."""

from __future__ import annotations

from typing import Any

from marshmallow import EXCLUDE, Schema, fields, pre_load, validate

from .fields import MAX_ID_LENGTH

#: Most skills of a worker, and most tasks in one heartbeat.
_MOST_NAMES = 1_000
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


class RegistrationSchema(_Open):
    worker_id = _id(required=True)
    worker_type = fields.String(load_default="")
    supported_skills = fields.List(
        fields.Nested(SkillSchema), load_default=list, validate=validate.Length(max=_MOST_NAMES)
    )
    timestamp = fields.Integer(strict=True)


class HeartbeatSchema(_Open):
    """Without ``current_tasks`` it only says that the worker lives; ``timestamp`` is in seconds of its clock.

    ``hands_back``: what is not among the current tasks is for others, at once.
    """

    worker_id = _id()
    status = fields.String()
    current_tasks = _names()
    hands_back = fields.Boolean(load_default=False)
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
