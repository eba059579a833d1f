"""Why a job does not move, as the HTTP API tells it."""

from __future__ import annotations

from marshmallow import Schema, fields

from avtomatika.core.job import JobStatus


class ReasonSchema(Schema):
    """One sentence. Dumps a Reason."""

    code = fields.String(metadata={"description": "for programs"})
    text = fields.String(metadata={"description": "for people"})
    job_id = fields.String(metadata={"description": "what it is about: this job, or one that it waits for"})
    facts = fields.Dict(metadata={"description": "what the sentence was made of"})


class WhySchema(Schema):
    """Why a job stands as it does, what matters most first."""

    job_id = fields.String()
    status = fields.Enum(JobStatus, by_value=True)
    current_state = fields.String(allow_none=True)
    reasons = fields.List(fields.Nested(ReasonSchema))
