"""Login sessions of the pages: a signed cookie that expires after 12 hours and gives no access to the API.

It names the client and the fingerprint of its token: a client whose token changes is logged out. The server has a
record of each session, which logging out deletes. Forms must send back the CSRF token of the cookie, which other sites
can neither read nor guess.
"""

from dataclasses import dataclass
from hmac import compare_digest
from secrets import token_urlsafe
from typing import Self

from flask import Request, Response, request

from avtomatika.core.signing import GroupSecret
from avtomatika.errors import ForbiddenError
from avtomatika.store import Logins
from avtomatika.tokens import ClientAccount, Clients, hash_token

from ..sealing import seal, unseal

COOKIE = "avtomatika_session"
PATH = "/"
_PURPOSE = "session"
_SECONDS = 12 * 3600


@dataclass(frozen=True, slots=True)
class Session:
    """Forms send back *csrf_token*; without a login *client* is None."""

    csrf_token: str
    expires_ms: int
    client: str | None = None
    mark: str | None = None

    @classmethod
    def new(cls, client: str | None = None, mark: str | None = None, *, now_ms: int) -> Self:
        """Return a session that starts now; *mark* is the fingerprint of the token with which *client* logged in."""
        return cls(token_urlsafe(16), now_ms + _SECONDS * 1000, client, mark)

    @classmethod
    def create(cls, client: ClientAccount, fingerprint: str, logins: Logins, *, now_ms: int) -> Self:
        """Create and record a session of *client*, who has logged in with the token of that *fingerprint*."""
        session = cls.new(client.name, fingerprint, now_ms=now_ms)
        logins.begin(session.digest, client.name, seconds=_SECONDS)
        return session

    @classmethod
    def of(cls, asked: Request, secret: GroupSecret, *, now_ms: int) -> Self | None:
        """Return the session of a request, or None if it has none or the session has expired."""
        values = unseal(secret, _PURPOSE, asked.cookies.get(COOKIE, ""))
        session = None if values is None else cls(*values)
        return session if session is not None and now_ms < session.expires_ms else None

    @property
    def digest(self) -> str:
        """The key of the session on the server."""
        return hash_token(self.csrf_token)

    def authenticated_client(self, clients: Clients, logins: Logins) -> ClientAccount | None:
        """Return the client if it is logged in."""
        if self.client is None or self.mark is None or not clients.has_fingerprint(self.client, self.mark):
            return None
        return clients.get(self.client) if logins.is_active(self.digest) else None

    def set_cookie(self, response: Response, secret: GroupSecret) -> Response:
        """Set the cookie of the session on *response*."""
        sealed = seal(secret, _PURPOSE, [self.csrf_token, self.expires_ms, self.client, self.mark])
        response.set_cookie(
            COOKIE,
            sealed,
            max_age=_SECONDS,
            path=PATH,
            secure=request.is_secure,
            httponly=True,
            samesite="Lax",
        )
        return response

    def check_csrf_token(self, sent_token: str) -> None:
        """Raise ForbiddenError for a form that is not from a page of this session."""
        if not compare_digest(self.csrf_token.encode(), sent_token.encode()):
            raise ForbiddenError("this form has expired, or is from another site: reload the page")
