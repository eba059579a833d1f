"""Queries and answers of the HTTP API that are about queues and dead letters."""

from __future__ import annotations

from marshmallow import Schema, fields
from marshmallow.validate import Range

from .api_fields import Timestamp
from .api_requests import Strict

#: Most messages in one answer: each may be large.
LARGEST_PAGE = 200


class QueueSchema(Schema):
    """A queue with its figures."""

    name = fields.String()
    waiting = fields.Integer(metadata={"description": "for a consumer"})
    held = fields.Integer(metadata={"description": "by consumers, under a lease"})
    delayed = fields.Integer()
    dead = fields.Integer(metadata={"description": "dead letters"})
    consumers = fields.Integer(metadata={"description": "that have taken something from it lately"})


class QueueListSchema(Schema):
    """All queues, by name."""

    queues = fields.List(fields.Nested(QueueSchema))


class MessageSchema(Schema):
    """A message that waits. Dumps a QueuedMessage."""

    id = fields.String(attribute="letter.id")
    queue = fields.String(attribute="letter.queue")
    kind = fields.String(allow_none=True)
    job_id = fields.String(allow_none=True)
    routing_key = fields.String(attribute="letter.routing_key")
    priority = fields.Integer(attribute="letter.priority")
    deliveries = fields.Integer(attribute="letter.deliveries")
    at = Timestamp(attribute="letter.at_ms")
    body = fields.Raw(allow_none=True, metadata={"description": "without signatures and tickets"})


class MessageListSchema(Schema):
    """Messages that wait, the next one first."""

    messages = fields.List(fields.Nested(MessageSchema))


class MessageQuerySchema(Strict):
    """How many messages."""

    limit = fields.Integer(load_default=20, validate=Range(1, LARGEST_PAGE))


class PurgeSchema(Schema):
    """The result of emptying a queue."""

    removed = fields.Integer(metadata={"description": "messages that were removed"})


class DeadLetterSchema(MessageSchema):
    """A message that was given up. Dumps a QueuedMessage."""

    reason = fields.String(attribute="letter.reason", allow_none=True)
    error = fields.String(attribute="letter.error", allow_none=True)


class DeadLetterListSchema(Schema):
    """Dead letters, the newest first."""

    dead_letters = fields.List(fields.Nested(DeadLetterSchema))


class DeadLetterQuerySchema(Strict):
    """Which dead letters."""

    queue = fields.String(load_default=None)
    limit = fields.Integer(load_default=50, validate=Range(1, LARGEST_PAGE))
