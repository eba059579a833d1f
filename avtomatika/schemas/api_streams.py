"""Answers of the API about the streams of jobs."""

from marshmallow import Schema, fields

from .api_fields import Timestamp


class StreamEntrySchema(Schema):
    """An entry of the stream of a job. Dumps a StreamEntry."""

    seq = fields.Integer(metadata={"description": "grows by 1"})
    task_id = fields.String(allow_none=True)
    attempt = fields.Integer(allow_none=True)
    kind = fields.String(
        metadata={
            "description": "`text`, `json`, `bytes`, `log`; `restart`: a new run of the task starts; `dropped`: "
            "entries are missing; `end`: the job has ended"
        }
    )
    data = fields.Raw(
        allow_none=True,
        metadata={"description": "text; JSON; base64; of `dropped` the number of entries; of `end` the job's status"},
    )
    level = fields.String(allow_none=True, metadata={"description": "of a `log`"})
    at = Timestamp(attribute="at_ms", allow_none=True)


class StreamPageSchema(Schema):
    """A page of the stream of a job, oldest entry first."""

    job_id = fields.String()
    entries = fields.List(fields.Nested(StreamEntrySchema))
    next = fields.Integer(metadata={"description": "`after` of the next page"})
    has_ended = fields.Boolean(metadata={"description": "whether there will be no further entries"})
