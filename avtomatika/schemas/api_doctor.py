"""The checks of an installation in the HTTP API and the command line."""

from marshmallow import Schema, fields


class FindingSchema(Schema):
    """The result of one check. Dumps a Finding."""

    subject = fields.String()
    state = fields.String(metadata={"description": "ok, warning or fault"})
    finding = fields.String(attribute="text")


class FindingListSchema(Schema):
    """The results of all checks."""

    findings = fields.List(fields.Nested(FindingSchema))
