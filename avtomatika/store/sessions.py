"""Temporary tokens, which workers over HTTP get in exchange for their own. Only digests of them are stored.

A refresh token can be used once; its access token expires with it. A second use means that one of two holders stole it:
all tokens of its family are revoked at once. Shortly after the first use it is taken for a retry of a worker that
missed the response.
"""

from dataclasses import dataclass
from enum import StrEnum

from avtomatika.transport.scripts import Argument, Call

from .scripts import REFRESH_SESSION
from .server_part import ServerPart

ACCESS_SECONDS = 3600
REFRESH_SECONDS = 24 * 3600
#: After its use, a refresh token may be used again, and the replaced access token is valid, for this long: for requests
#: in flight.
GRACE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Session:
    """*basis* identifies the worker's own token that the session was created with: the session ends if it changes."""

    worker_id: str
    basis: str


@dataclass(frozen=True, slots=True)
class TokenPair:
    """Digests of an access token and of the refresh token issued with it."""

    access: str
    refresh: str


class RefreshStatus(StrEnum):
    OK = "OK"
    UNKNOWN = "UNKNOWN"  # never issued, expired, or revoked
    REUSED = "REUSED"  # used before: the whole family is revoked


class Sessions(ServerPart):
    """Thread-safe."""

    def begin(self, session: Session, pair: TokenPair) -> None:
        """Store *session* as a new family of tokens, starting with *pair*."""
        keys, family = self._keys, pair.refresh
        fields = ("worker", session.worker_id, "basis", session.basis, "family", family, "access", pair.access)
        self._read(
            [
                ("MULTI",),  # or a session without expiry could be left
                ("SET", keys.session_family(family), "1", "EX", REFRESH_SECONDS),
                ("HSET", keys.refresh_token(pair.refresh), *fields),
                ("EXPIRE", keys.refresh_token(pair.refresh), REFRESH_SECONDS),
                ("HSET", keys.access_token(pair.access), *fields),
                ("EXPIRE", keys.access_token(pair.access), ACCESS_SECONDS),
                ("EXEC",),
            ]
        )

    def of_access(self, digest: str) -> Session | None:
        """Return the session of an access token if it is valid."""
        [row] = self._read([("HMGET", self._keys.access_token(digest), "worker", "basis", "family")])
        return self._living(row)

    def of_refresh(self, digest: str) -> Session | None:
        """Return the session of a refresh token, used or not, if its family is valid."""
        [row] = self._read([("HMGET", self._keys.refresh_token(digest), "worker", "basis", "family")])
        return self._living(row)

    def refresh(self, digest: str, pair: TokenPair) -> RefreshStatus:
        """Replace the refresh token *digest* and its access token by *pair*."""
        keys = self._keys
        [row] = self._read([("HMGET", keys.refresh_token(digest), "family", "access")])
        family, access = (None if value is None else value.decode() for value in row)
        if family is None or access is None:
            return RefreshStatus.UNKNOWN
        old = [keys.refresh_token(digest), keys.session_family(family), keys.access_token(access)]
        new = [keys.refresh_token(pair.refresh), keys.access_token(pair.access)]
        args: list[Argument] = [pair.access, GRACE_SECONDS, ACCESS_SECONDS, REFRESH_SECONDS]
        return RefreshStatus(self._run(Call(REFRESH_SESSION, [*old, *new], args)).decode())

    def _living(self, row: list[bytes | None]) -> Session | None:
        worker, basis, family = (None if value is None else value.decode() for value in row)
        if worker is None or basis is None or family is None:
            return None
        [is_alive] = self._read([("EXISTS", self._keys.session_family(family))])
        return Session(worker, basis) if is_alive else None
