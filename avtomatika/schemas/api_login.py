"""Requests and responses of the HTTP API about logging in to the pages."""

from marshmallow import Schema, fields

from .api_requests import Strict


class LoginLinkRequestSchema(Strict):
    """Which page the link opens."""

    page = fields.String(
        load_default=None, allow_none=True, metadata={"description": "path of the page, by default the overview"}
    )


class LoginLinkSchema(Schema):
    """A link that logs in once."""

    url = fields.String()
    expires_in = fields.Integer(metadata={"description": "seconds"})
