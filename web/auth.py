"""Authentication of clients: every request needs a client token, except for public routes."""

from collections.abc import Callable

from flask import Request, g, request

from avtomatika.errors import ForbiddenError, UnauthorizedError
from avtomatika.tokens import ClientAccount, Clients

from .services import services

READING = frozenset({"GET", "HEAD", "OPTIONS"})
#: Endpoints that change nothing but the caller's own login.
_HARMLESS = frozenset({"login-links.create_login_link"})


def guard(clients: Clients, *, public: frozenset[str]) -> Callable[[], None]:
    """Return a function that authenticates each request; *public* are the names of the routes that need no token."""

    def authenticate() -> None:
        # Without an endpoint the response is 404 or 405, which needs no protection.
        if request.endpoint is not None and request.blueprint not in public:
            g.caller = clients.identify(token_of(request))
            services().limits.count_request(g.caller)
            if g.caller.is_read_only and request.method not in READING and request.endpoint not in _HARMLESS:
                raise ForbiddenError(f"{g.caller.name} may look at everything but change nothing")

    return authenticate


def caller() -> ClientAccount:
    """Return the authenticated client of this request."""
    client: ClientAccount = g.caller
    return client


def require_operator() -> None:
    """Raise ForbiddenError unless the client is an operator."""
    if not caller().is_operator:
        raise ForbiddenError("this is for operators: use the token of an operator")


def token_of(asked: Request) -> str:
    """Return the token from a header. A token in the URL would end up in logs, so it is not accepted."""
    token = asked.headers.get("X-Client-Token", "")
    if not token and asked.authorization is not None and asked.authorization.type == "bearer":
        token = asked.authorization.token or ""
    if not token:
        raise UnauthorizedError("a client token is required, in the header X-Client-Token or as Authorization: Bearer")
    return token
