"""Answers of the HTTP API about graphs: where a job was."""

from __future__ import annotations

from marshmallow import Schema, fields

from .api_fields import Timestamp


class StaySchema(Schema):
    """One stay of a job in a state. Dumps a Passage."""

    state = fields.String()
    entered_at = Timestamp(attribute="entered_ms")
    left_at = Timestamp(attribute="left_ms", allow_none=True)
    duration_ms = fields.Integer(allow_none=True)
    target = fields.String(allow_none=True, metadata={"description": "where it went"})
    outcome = fields.String(allow_none=True)
    attempts = fields.Integer(metadata={"description": "of tasks, that ended meanwhile"})
    failures = fields.Integer(metadata={"description": "those of them that failed"})
    branches = fields.Integer(metadata={"description": "of a fan-out, that ended meanwhile"})
