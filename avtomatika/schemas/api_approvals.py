"""Bodies and answers of the HTTP API that are about approvals."""

from __future__ import annotations

from marshmallow import Schema, fields
from marshmallow.validate import Length

from .api_fields import Seconds, Timestamp
from .api_requests import Strict

#: Longest comment, in characters: it stands in the history of the job.
LONGEST_COMMENT = 2000
#: How long a link is good for where nobody says.
LINK_SECONDS = 7 * 24 * 3600


class ApprovalSchema(Strict):
    """What somebody decides."""

    decision = fields.String(required=True, metadata={"description": "one of `waiting_for.decisions`"})
    comment = fields.String(load_default=None, allow_none=True, validate=Length(max=LONGEST_COMMENT))


class LinkRequestSchema(Strict):
    """A link by which somebody without a token may decide."""

    expires_in = Seconds(
        load_default=LINK_SECONDS,
        metadata={"description": "seconds; never longer than the approval's own deadline", "default": LINK_SECONDS},
    )


class LinkSchema(Schema):
    """Whoever has the link may decide, once."""

    url = fields.String()
    expires_at = Timestamp(attribute="expires_ms")
