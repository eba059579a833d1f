"""Authentication of workers over HTTP: by their own tokens, or by temporary ones that were issued for these."""

import logging
from dataclasses import dataclass, field
from typing import Self

from avtomatika.core.job import Json
from avtomatika.errors import UnauthorizedError
from avtomatika.log_limits import LogLimit
from avtomatika.store import RefreshStatus, Session, Sessions, TokenPair
from avtomatika.store.sessions import ACCESS_SECONDS
from avtomatika.tokens import WorkerAccess, Workers, hash_token, new_token

logger = logging.getLogger(__name__)

#: Logged characters of a worker id, which any client can send.
_LONGEST_ID = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Authentication:
    """Identifies workers, and issues and replaces their temporary tokens."""

    workers: Workers
    sessions: Sessions
    refusals: LogLimit = field(default_factory=LogLimit)

    def identify(self, worker_id: str, token: str) -> WorkerAccess:
        """Return the access of a worker. Raises UnauthorizedError unless *token* is valid for it."""
        if not worker_id or not token:
            raise UnauthorizedError(
                "a worker must send its id and its token, in the headers X-Worker-ID and X-Worker-Token"
            )
        try:
            return self.workers.identify(worker_id, token)
        except UnauthorizedError:
            session = self.sessions.of_access(hash_token(token))
            if session is None or session.worker_id != worker_id:
                raise
            return self._session_access(session)

    def issue_tokens(self, access: WorkerAccess) -> dict[str, Json]:
        """Issue temporary tokens to a worker that authenticated with its own."""
        fresh = _Tokens.new()
        self.sessions.begin(Session(access.worker_id, access.basis), fresh.pair)
        return fresh.answer(access.worker_id)

    def refresh_tokens(self, worker_id: str, refresh_token: str) -> dict[str, Json]:
        """Replace temporary tokens. Raises UnauthorizedError if the refresh token is invalid or the worker was
        revoked."""
        digest, fresh = hash_token(refresh_token), _Tokens.new()
        session = self.sessions.of_refresh(digest)
        if session is None:
            raise UnauthorizedError("Unauthorized: Invalid refresh token (not found)")
        if session.worker_id != worker_id:
            raise UnauthorizedError("Unauthorized: Invalid refresh token (owner mismatch)")
        self._session_access(session)
        answer = self.sessions.refresh(digest, fresh.pair)
        if answer is not RefreshStatus.OK:
            logger.warning("worker %s: its refresh token is %s", worker_id, answer.lower())
            raise UnauthorizedError("Unauthorized: Invalid refresh token (not found)")
        return fresh.answer(worker_id)

    def _session_access(self, session: Session) -> WorkerAccess:
        """Return the access of *session*: it is revoked with the token that started it."""
        return self.workers.identify_session(session.worker_id, session.basis)

    def log_refused(self, worker_id: str, reason: str) -> None:
        """Log that a worker was rejected, at most once a minute for each."""
        shown = repr(worker_id[:_LONGEST_ID])
        if self.refusals.allows(shown):
            logger.warning("worker %s rejected: %s", shown, reason)


@dataclass(frozen=True, slots=True)
class _Tokens:
    access: str = field(repr=False)
    refresh: str = field(repr=False)

    @classmethod
    def new(cls) -> Self:
        return cls(new_token(), new_token())

    @property
    def pair(self) -> TokenPair:
        return TokenPair(hash_token(self.access), hash_token(self.refresh))

    def answer(self, worker_id: str) -> dict[str, Json]:
        return {
            "access_token": self.access,
            "refresh_token": self.refresh,
            "expires_in": ACCESS_SECONDS,
            "worker_id": worker_id,
        }
