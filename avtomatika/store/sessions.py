"""Tokens for a while, which workers over HTTP get for their own. Only digests of them are kept.

A refresh token is good for one use; the access token that it was given with ends with it. One that comes again was
stolen, from whichever of the two: then every token that goes back to the same beginning ends at once. Within a short
while it is only a worker that did not get its answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from avtomatika.transport import RedisClient
from avtomatika.transport.scripts import Argument, Call

from .keys import Keys
from .scripts import REFRESH_SESSION, read_all, run

ACCESS_SECONDS = 3600
REFRESH_SECONDS = 24 * 3600
#: So long after its use a refresh token may come again, and an access token that was replaced is still good: requests
#: that were on their way.
GRACE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Session:
    """*basis* tells by which of the worker's own tokens it began: it ends when that one changes."""

    worker_id: str
    basis: str


@dataclass(frozen=True, slots=True)
class TokenPair:
    """Digests of an access token and of the refresh token that was given with it."""

    access: str
    refresh: str


class RefreshStatus(StrEnum):
    OK = "OK"
    UNKNOWN = "UNKNOWN"  # never given, too old, or ended
    REUSED = "REUSED"  # used before: the whole family has ended


class Sessions:
    """Threads may share it."""

    def __init__(self, server: RedisClient, *, prefix: str = "avt:") -> None:
        self._server = server
        self._keys = Keys(prefix)

    @classmethod
    def connect(cls, url: str) -> Sessions:
        """With connections of its own; nothing is sent yet."""
        return cls(RedisClient.connect(url))

    def begin(self, session: Session, pair: TokenPair) -> None:
        """A family of its own, which begins with *pair*."""
        keys, family = self._keys, pair.refresh
        fields = ("worker", session.worker_id, "basis", session.basis, "family", family, "access", pair.access)
        read_all(
            self._server,
            [
                ("MULTI",),  # or a session without an end could be left
                ("SET", keys.session_family(family), "1", "EX", REFRESH_SECONDS),
                ("HSET", keys.refresh_token(pair.refresh), *fields),
                ("EXPIRE", keys.refresh_token(pair.refresh), REFRESH_SECONDS),
                ("HSET", keys.access_token(pair.access), *fields),
                ("EXPIRE", keys.access_token(pair.access), ACCESS_SECONDS),
                ("EXEC",),
            ],
        )

    def of_access(self, digest: str) -> Session | None:
        """Whose access token it is, as long as it is good."""
        [row] = read_all(self._server, [("HMGET", self._keys.access_token(digest), "worker", "basis", "family")])
        return self._living(row)

    def of_refresh(self, digest: str) -> Session | None:
        """Whose refresh token it is, used or not."""
        [row] = read_all(self._server, [("HMGET", self._keys.refresh_token(digest), "worker", "basis", "family")])
        return self._living(row)

    def refresh(self, digest: str, pair: TokenPair) -> RefreshStatus:
        """Replace the refresh token *digest*, and the access token that came with it, by *pair*."""
        keys = self._keys
        [row] = read_all(self._server, [("HMGET", keys.refresh_token(digest), "family", "access")])
        family, access = (None if value is None else value.decode() for value in row)
        if family is None or access is None:
            return RefreshStatus.UNKNOWN
        names = [
            keys.refresh_token(digest),
            keys.session_family(family),
            keys.access_token(access),
            keys.refresh_token(pair.refresh),
            keys.access_token(pair.access),
        ]
        args: list[Argument] = [pair.access, GRACE_SECONDS, ACCESS_SECONDS, REFRESH_SECONDS]
        return RefreshStatus(run(self._server, Call(REFRESH_SESSION, names, args)).decode())

    def close(self) -> None:
        """Disconnect; the next call connects again."""
        self._server.close()

    def _living(self, row: list[bytes | None]) -> Session | None:
        worker, basis, family = (None if value is None else value.decode() for value in row)
        if worker is None or basis is None or family is None:
            return None
        [is_alive] = read_all(self._server, [("EXISTS", self._keys.session_family(family))])
        return Session(worker, basis) if is_alive else None
