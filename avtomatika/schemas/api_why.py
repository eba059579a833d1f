"""The reasons why a job does not proceed."""

from marshmallow import Schema, fields

from avtomatika.core.job import JobStatus


class ReasonSchema(Schema):
    """One reason. Dumps a Reason."""

    code = fields.String(metadata={"description": "for programs"})
    text = fields.String(metadata={"description": "for people"})
    job_id = fields.String(metadata={"description": "the job that the reason is about: this one, or a child job"})
    facts = fields.Dict(metadata={"description": "the facts behind the text"})


class WhySchema(Schema):
    """The reasons why a job does not proceed, the most important first."""

    job_id = fields.String()
    status = fields.Enum(JobStatus, by_value=True)
    current_state = fields.String(allow_none=True)
    reasons = fields.List(fields.Nested(ReasonSchema))
