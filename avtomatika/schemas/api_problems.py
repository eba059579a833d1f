"""Error responses of the HTTP API."""

from marshmallow import Schema, fields


class ProblemSchema(Schema):
    """An error (RFC 9457, ``application/problem+json``)."""

    type = fields.String()
    title = fields.String()
    status = fields.Integer()
    detail = fields.String(metadata={"description": "for people"})
    code = fields.String(metadata={"description": "for programs"})
    errors = fields.Dict(metadata={"description": "error messages by field"})
    near = fields.List(fields.String(), metadata={"description": "existing names similar to the unknown one"})
    kind = fields.String(metadata={"description": "kind of the missing object: job, blueprint, path and so on"})
    name = fields.String(metadata={"description": "name of the missing object"})
    limit = fields.Integer(metadata={"description": "quota: jobs per month"})
    created = fields.Integer(metadata={"description": "jobs created this month"})
    renews_at = fields.String(metadata={"description": "when the quota is renewed"})
    incident = fields.String(metadata={"description": "identifies the error in the log"})
