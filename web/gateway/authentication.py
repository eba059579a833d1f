"""Authentication of workers over HTTP: by their own tokens, or by temporary ones that were issued for these."""

import logging
from dataclasses import dataclass, field

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
        pair, answer = _fresh_tokens(access.worker_id)
        self.sessions.begin(Session(access.worker_id, access.basis), pair)
        return answer

    def refresh_tokens(self, worker_id: str, refresh_token: str) -> dict[str, Json]:
        """Replace temporary tokens. Raises UnauthorizedError if the refresh token is invalid or the worker was
        revoked."""
        digest = hash_token(refresh_token)
        session = self.sessions.of_refresh(digest)
        if session is None:
            raise UnauthorizedError("Unauthorized: Invalid refresh token (not found)")
        if session.worker_id != worker_id:
            raise UnauthorizedError("Unauthorized: Invalid refresh token (owner mismatch)")
        self._session_access(session)
        pair, answer = _fresh_tokens(worker_id)
        status = self.sessions.refresh(digest, pair)
        if status is not RefreshStatus.OK:
            logger.warning("worker %s: its refresh token is %s", worker_id, status.lower())
            raise UnauthorizedError("Unauthorized: Invalid refresh token (not found)")
        return answer

    def _session_access(self, session: Session) -> WorkerAccess:
        """Return the access of *session*: it is revoked with the token that started it."""
        return self.workers.identify_session(session.worker_id, session.basis)

    def log_refused(self, worker_id: str, reason: str) -> bool:
        """Log that a worker was rejected, at most once a minute for each; return whether it was logged."""
        shown = repr(worker_id[:_LONGEST_ID])
        is_logged = self.refusals.allows(shown)
        if is_logged:
            logger.warning("worker %s rejected: %s", shown, reason)
        return is_logged


def _fresh_tokens(worker_id: str) -> tuple[TokenPair, dict[str, Json]]:
    """Return the hashes of new tokens, and the answer with the tokens."""
    access, refresh = new_token(), new_token()
    return TokenPair(hash_token(access), hash_token(refresh)), {
        "access_token": access,
        "refresh_token": refresh,
        "expires_in": ACCESS_SECONDS,
        "worker_id": worker_id,
    }
