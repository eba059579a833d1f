"""Answers of the HTTP API for errors."""

from __future__ import annotations

from marshmallow import Schema, fields


class ProblemSchema(Schema):
    """What went wrong (RFC 9457, ``application/problem+json``)."""

    type = fields.String()
    title = fields.String()
    status = fields.Integer()
    detail = fields.String(metadata={"description": "for people"})
    code = fields.String(metadata={"description": "for programs"})
    errors = fields.Dict(metadata={"description": "what is wrong, by field"})
    near = fields.List(fields.String(), metadata={"description": "names like the one that is unknown"})
    kind = fields.String(metadata={"description": "of what is not found: job, blueprint, path and so on"})
    name = fields.String(metadata={"description": "of what is not found"})
    limit = fields.Integer(metadata={"description": "of the quota: jobs a month"})
    created = fields.Integer(metadata={"description": "jobs that were created this month"})
    renews_at = fields.String(metadata={"description": "when the quota begins anew"})
    incident = fields.String(metadata={"description": "stands in the log beside the cause"})
