"""Requests of workers over HTTP. Unknown fields are ignored: workers may be older or newer than the server."""

from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, pre_load, validate

from avtomatika.core.placement.cached_files import MOST_FILES

from .fields import MAX_ID_LENGTH, rows as rows_of
from .wire.streams import CHUNK_FIELDS

#: Maximum number of skills of a worker, and of tasks in one heartbeat.
_MOST_NAMES = 1_000
#: Maximum length of a delivery tag or a consumer name.
_LONGEST_TAG = 1_000
#: Maximum length of a progress message, in characters.
_LONGEST_MESSAGE = 10_000


def _id(**options: Any) -> fields.String:
    return fields.String(validate=validate.Length(min=1, max=MAX_ID_LENGTH), **options)


def _list(of: Any, **options: Any) -> Any:
    return fields.List(of, validate=validate.Length(max=_MOST_NAMES), **options)


class _Open(Schema):
    class Meta:
        unknown = EXCLUDE

    @pre_load
    def without_nulls(self, body: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Treat null as a missing field."""
        return {name: value for name, value in body.items() if value is not None}


class SkillSchema(_Open):
    name = _id(required=True)
    input_schema = fields.Raw()
    concurrency = fields.Raw()
    rate = fields.Raw()


class RegistrationSchema(_Open):
    """``concurrency``: how many tasks the worker runs at a time, if known; ``current_tasks``: its tasks in flight.

    Raw fields may hold anything; they are sanitized before they are stored.
    """

    worker_id = _id(required=True)
    worker_type = fields.String(load_default="")
    version = fields.String(load_default="", validate=validate.Length(max=MAX_ID_LENGTH))
    concurrency = fields.Integer(strict=True, validate=validate.Range(min=1))
    supported_skills = _list(fields.Nested(SkillSchema), load_default=list)
    current_tasks = _list(_id(), load_default=list)
    resources = fields.Raw()
    capabilities = fields.Raw()
    timestamp = fields.Integer(strict=True)


class ClaimSchema(_Open):
    """A task received from the broker: ``tag`` is its delivery tag, and its ``ticket`` proves that the worker received
    it."""

    task_id = _id(required=True)
    attempt = fields.Integer(strict=True, required=True, validate=validate.Range(min=1))
    ticket = fields.String(required=True, validate=validate.Length(max=MAX_ID_LENGTH))
    tag = fields.String(required=True, validate=validate.Length(max=_LONGEST_TAG))


class AdoptionSchema(_Open):
    """Tasks that the worker has leased on the broker as ``consumer`` and cannot answer there."""

    worker_id = _id(required=True)
    consumer = fields.String(required=True, validate=validate.Length(min=1, max=_LONGEST_TAG))
    tasks = _list(fields.Nested(ClaimSchema), required=True)


class LinkSchema(_Open):
    """``state``: ``in_use``, ``standby`` or ``down``, as the worker sees it."""

    address = fields.String(required=True, validate=validate.Length(max=1_000))
    state = fields.String(required=True, validate=validate.OneOf(("in_use", "standby", "down")))


class HeartbeatSchema(_Open):
    """Without ``current_tasks`` it only says that the worker is alive; ``timestamp`` is in seconds of the worker's
    clock.

    ``hands_back``: requeue tasks that are not in ``current_tasks`` at once. ``running``: number of running tasks over
    all ``links``. ``standby``: the worker prefers another link for its tasks. ``switches``: number of failovers between
    links. ``unfit``: why it cannot perform some skills at present. ``holds``: digests of cached files
    (``core.placement.cached_files``), when they change. ``tasks``: running ones, each with ``task_id``, ``skill`` and
    ``running_ms``.
    """

    worker_id = _id()
    status = fields.String(validate=validate.Length(max=MAX_ID_LENGTH))
    current_tasks = _list(_id())
    hands_back = fields.Boolean(load_default=False)
    running = fields.Integer(strict=True, validate=validate.Range(min=0))
    standby = fields.Boolean(load_default=False)
    links = _list(fields.Nested(LinkSchema), load_default=list)
    switches = fields.Integer(strict=True, load_default=0, validate=validate.Range(min=0))
    holds = fields.List(_id(), validate=validate.Length(max=MOST_FILES))
    unfit = fields.Raw()
    tasks = fields.Raw()
    timestamp = fields.Integer(strict=True)


class EventSchema(_Open):
    """An event of a worker or of its task in flight."""

    worker_id = _id(required=True)
    event_type = _id(required=True)
    target_task_id = _id()
    attempt = fields.Integer(strict=True)
    payload = fields.Dict(keys=fields.String(), load_default=dict)
    timestamp = fields.Integer(strict=True)


class ProgressSchema(_Open):
    """The payload of a ``progress`` event."""

    progress = fields.Float(required=True, validate=validate.Range(0, 1))
    message = fields.String(load_default="", validate=validate.Length(max=_LONGEST_MESSAGE))


def _check_chunks(chunks: object) -> None:
    _, is_valid, expected = rows_of("chunks", *CHUNK_FIELDS)
    if not is_valid(chunks):
        raise ValidationError(f"must be {expected}")


class StreamSchema(_Open):
    """The payload of a ``stream`` event: chunks with their numbers in the *run* of the task."""

    run = fields.Integer(strict=True, required=True, validate=validate.Range(0, 2**53))
    chunks = fields.Raw(required=True, validate=_check_chunks)


class RefreshSchema(_Open):
    refresh_token = fields.String(required=True, validate=validate.Length(min=1, max=MAX_ID_LENGTH))


class ErrorSchema(Schema):
    """Unknown fields are kept."""

    class Meta:
        unknown = "include"

    code = fields.String(load_default="PERMANENT_ERROR")
    message = fields.String(load_default="")


class ResultSchema(_Open):
    """The result of a task; the default status is success."""

    job_id = _id(required=True)
    task_id = _id(required=True)
    worker_id = _id(required=True)
    attempt = fields.Integer(strict=True, validate=validate.Range(min=1))
    status = _id(load_default="success")
    data = fields.Dict(keys=fields.String(), load_default=None, allow_none=True)
    error = fields.Nested(ErrorSchema, load_default=None, allow_none=True)
    costs = fields.Dict(keys=fields.String(), load_default=dict)
    timestamp = fields.Integer(strict=True)
