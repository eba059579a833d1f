"""Bodies and answers of the HTTP API that are about approvals."""

from __future__ import annotations

from marshmallow import fields
from marshmallow.validate import Length

from .api_requests import Strict

#: Longest comment, in characters: it stands in the history of the job.
LONGEST_COMMENT = 2000


class ApprovalSchema(Strict):
    """What somebody decides."""

    decision = fields.String(required=True, metadata={"description": "one of `waiting_for.decisions`"})
    comment = fields.String(load_default=None, allow_none=True, validate=Length(max=LONGEST_COMMENT))
