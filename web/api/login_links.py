"""Links with which the caller logs in to the pages without typing its token."""

from typing import Any

from flask import request, url_for

from avtomatika.schemas.answers import LoginLink
from avtomatika.schemas.api_requests import LoginLinkRequestSchema
from avtomatika.store import LINK_SECONDS
from avtomatika.tokens import hash_token, token_fingerprint

from ..auth import caller, token_of
from ..routes import Routes
from ..services import services

routes = Routes("login-links", __name__, url_prefix="/api/v1/login-links", description="Log in to the pages")


@routes.post("")
@routes.arguments(LoginLinkRequestSchema)
@routes.response(201, LoginLink)
def create_login_link(wanted: dict[str, Any]) -> dict[str, Any]:
    """Create a link that logs the caller in to the pages, once, within five minutes"""
    fingerprint = token_fingerprint(hash_token(token_of(request)))
    key = services().store.logins.create_link(caller().name, fingerprint)
    url = url_for("pages.log_in_by_link", key=key, next=wanted["page"], _external=True)
    return {"url": url, "expires_in": LINK_SECONDS}
