"""Login sessions of the dashboard: a sealed cookie that expires after half a day, and never gives access to the API.

It names the client and a mark of its token: a client whose token changes is logged out. The server keeps a record of
each session, which logging out deletes. What changes something must send back the word that the cookie holds, which
other sites can neither read nor guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from hmac import compare_digest
from secrets import token_urlsafe

import orjson
from flask import Request, Response, request

from avtomatika.core.signing import GroupSecret
from avtomatika.errors import ForbiddenError
from avtomatika.store import Logins
from avtomatika.tokens import ClientAccount, Clients, hash_token, token_fingerprint

COOKIE = "avtomatika_session"
PATH = "/dashboard"
_PURPOSE = "session"
_SECONDS = 12 * 3600


@dataclass(frozen=True, slots=True)
class Session:
    """*word* is what forms send back; *client* is None until somebody has logged in."""

    word: str
    expires_ms: int
    client: str | None = None
    mark: str | None = None

    @classmethod
    def new(cls, client: str | None = None, mark: str | None = None, *, now_ms: int) -> Session:
        """A session that begins now; *mark* is that of the token that *client* has logged in with."""
        return cls(token_urlsafe(16), now_ms + _SECONDS * 1000, client, mark)

    @classmethod
    def begin(cls, client: ClientAccount, token: str, logins: Logins, *, now_ms: int) -> Session:
        """A session of *client*, who has logged in with *token*, recorded in *logins*."""
        session = cls.new(client.name, token_fingerprint(hash_token(token)), now_ms=now_ms)
        logins.begin(session.digest, client.name, seconds=_SECONDS)
        return session

    @classmethod
    def of(cls, asked: Request, secret: GroupSecret, *, now_ms: int) -> Session | None:
        """The one that *asked* comes with, if it is (still) good."""
        text = secret.unsealed(_PURPOSE, asked.cookies.get(COOKIE, ""))
        session = None if text is None else cls(*orjson.loads(text))
        return session if session is not None and now_ms < session.expires_ms else None

    @property
    def digest(self) -> str:
        """Identifies the session on the server."""
        return hash_token(self.word)

    def who(self, clients: Clients, logins: Logins) -> ClientAccount | None:
        """The client who is logged in."""
        if self.client is None or self.mark is None or not clients.has_fingerprint(self.client, self.mark):
            return None
        return clients.get(self.client) if logins.is_active(self.digest) else None

    def keep(self, response: Response, secret: GroupSecret) -> Response:
        """*response* with the cookie."""
        sealed = secret.sealed(_PURPOSE, orjson.dumps([self.word, self.expires_ms, self.client, self.mark]))
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

    def check_word(self, form_word: str) -> None:
        """Raises ForbiddenError for a form that is not of a page of this session."""
        if not compare_digest(self.word.encode(), form_word.encode()):
            raise ForbiddenError("this form is too old, or comes from elsewhere: load the page anew")
