"""Queries and responses of the HTTP API about queues and dead letters."""

from marshmallow import Schema, fields
from marshmallow.validate import Range

from .api_fields import Timestamp, about
from .api_requests import Strict

#: Maximum number of messages in a response: each may be large.
LARGEST_PAGE = 200


class QueueSchema(Schema):
    """A queue and its message counts."""

    name = fields.String()
    waiting = fields.Integer(metadata=about("messages that wait for a consumer"))
    held = fields.Integer(metadata=about("messages leased to consumers"))
    delayed = fields.Integer()
    dead = fields.Integer(metadata=about("dead letters"))
    consumers = fields.Integer(metadata=about("consumers that took messages lately"))
    waited_ms = fields.Integer(metadata=about("how long the first message has waited, 0 if none waits"))


class QueueListSchema(Schema):
    """All queues, by name."""

    queues = fields.List(fields.Nested(QueueSchema))


class MessageSchema(Schema):
    """A message that waits in a queue. Dumps a QueuedMessage."""

    id = fields.String(attribute="letter.id")
    queue = fields.String(attribute="letter.queue")
    kind = fields.String(allow_none=True)
    job_id = fields.String(allow_none=True)
    routing_key = fields.String(attribute="letter.routing_key")
    priority = fields.Integer(attribute="letter.priority")
    deliveries = fields.Integer(attribute="letter.deliveries")
    at = Timestamp(attribute="letter.at_ms")
    body = fields.Raw(allow_none=True, metadata=about("without signatures and tickets"))


class MessageListSchema(Schema):
    """Messages that wait in a queue, the next one first."""

    messages = fields.List(fields.Nested(MessageSchema))


class MessageQuerySchema(Strict):
    """Limit for messages."""

    limit = fields.Integer(load_default=20, validate=Range(1, LARGEST_PAGE))


class PurgeSchema(Schema):
    """The result of purging a queue."""

    removed = fields.Integer(metadata=about("number of deleted messages"))


class DeadLetterSchema(MessageSchema):
    """A dead-lettered message. Dumps a QueuedMessage."""

    reason = fields.String(attribute="letter.reason", allow_none=True)
    error = fields.String(attribute="letter.error", allow_none=True)


class DeadLetterListSchema(Schema):
    """Dead letters, newest first."""

    dead_letters = fields.List(fields.Nested(DeadLetterSchema))


class DeadLetterQuerySchema(Strict):
    """Filters for dead letters."""

    queue = fields.String(load_default=None)
    limit = fields.Integer(load_default=50, validate=Range(1, LARGEST_PAGE))
