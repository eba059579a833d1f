"""What the HTTP API and the command line show of the state of an installation."""

from __future__ import annotations

from marshmallow import Schema, fields


class FindingSchema(Schema):
    """What was found of one subject. Dumps a Finding."""

    subject = fields.String()
    state = fields.String(metadata={"description": "ok, warning or fault"})
    finding = fields.String(attribute="text")


class FindingListSchema(Schema):
    """All findings."""

    findings = fields.List(fields.Nested(FindingSchema))
