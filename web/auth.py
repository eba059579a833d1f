"""Who asks: every request needs a client's token, except to routes that are named public."""

from __future__ import annotations

from collections.abc import Callable

from flask import Request, g, request

from avtomatika.errors import ForbiddenError, UnauthorizedError
from avtomatika.tokens import ClientAccount, Clients


def guard(clients: Clients, *, public: frozenset[str]) -> Callable[[], None]:
    """What an app asks before each request; *public* are the names of the routes that need no token."""

    def authenticate() -> None:
        # Without an endpoint there is nothing to protect: the answer is 404 or 405.
        if request.endpoint is not None and request.blueprint not in public:
            g.caller = clients.identify(_token(request))

    return authenticate


def caller() -> ClientAccount:
    """The client who sent this request."""
    client: ClientAccount = g.caller
    return client


def require_operator() -> None:
    """For what concerns everybody's jobs; raises ForbiddenError."""
    if not caller().is_operator:
        raise ForbiddenError("this is for operators: ask with an operator's token")


def _token(asked: Request) -> str:
    """The token of a header; one in the address would end up in logs, so it is not looked for there."""
    token = asked.headers.get("X-Client-Token", "")
    if not token and asked.authorization is not None and asked.authorization.type == "bearer":
        token = asked.authorization.token or ""
    if not token:
        raise UnauthorizedError("a client token is needed, in the header X-Client-Token or as Authorization: Bearer")
    return token
