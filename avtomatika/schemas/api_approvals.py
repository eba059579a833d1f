"""Bodies and responses of the HTTP API about approvals."""

from marshmallow import Schema, fields
from marshmallow.validate import Length

from .api_fields import Seconds, Timestamp
from .api_requests import Strict

#: Maximum length of a comment, which becomes part of the history.
LONGEST_COMMENT = 2000
#: Default lifetime of a link.
LINK_SECONDS = 7 * 24 * 3600


class ApprovalSchema(Strict):
    """A decision."""

    decision = fields.String(required=True, metadata={"description": "one of `waiting_for.decisions`"})
    comment = fields.String(load_default=None, allow_none=True, validate=Length(max=LONGEST_COMMENT))


class LinkRequestSchema(Strict):
    """A request for a link with which a person without a token can decide."""

    expires_in = Seconds(
        load_default=LINK_SECONDS,
        metadata={
            "description": "lifetime in seconds, limited by the deadline of the approval",
            "default": LINK_SECONDS,
        },
    )


class LinkSchema(Schema):
    """A link whose holder can decide once."""

    url = fields.String()
    expires_at = Timestamp(attribute="expires_ms")
