"""The group's secret: the configured one, else one that the server stores for all who can connect to it."""

import logging
import secrets
from threading import Lock
from time import monotonic

from avtomatika.core.signing import GroupSecret
from avtomatika.errors import SettingsError
from avtomatika.transport import RedisClient

from .server_part import ServerClock, ServerPart

logger = logging.getLogger(__name__)

#: Interval of checking that the server still has the secret: a server that lost its data gets the old one back.
_LOOK_EVERY_SECONDS = 5.0
#: A secret that no process has started to use for this long no longer belongs to the group.
REMEMBERED_SECONDS = 24 * 3600


class Keyring(ServerPart):
    """Thread-safe. Sends nothing until the secret is needed."""

    def __init__(self, server: RedisClient, configured: GroupSecret | None = None) -> None:
        super().__init__(server)
        self._configured = configured
        self._offered = ""
        self._kept: GroupSecret | None = None
        self._announced: str | None = None
        self._looked_at = 0.0
        self._clock = ServerClock(server)
        self._lock = Lock()

    @property
    def is_configured(self) -> bool:
        """True if the secret is configured in this process, not stored by the server."""
        return self._configured is not None

    @property
    def secret(self) -> GroupSecret:
        """The secret. Raises UnavailableError if the server stores it and is down."""
        if self._configured is not None and self._announced is not None:
            return self._configured
        with self._lock:
            found = self._configured or self._kept_by_server()
            if self._announced != found.fingerprint:
                self._announce(found)
            return found

    @property
    def fingerprint(self) -> str:
        """That of the secret, without announcing it; empty if the server has yet to make one."""
        if self._configured is not None:
            return self._configured.fingerprint
        [kept] = self._read([("GET", self._keys.secret())])
        return GroupSecret(kept.decode()).fingerprint if kept else ""

    def check(self) -> None:
        """Raise SettingsError if other processes started within a day, and all of them sign with another secret."""
        found, used = self._configured or self._kept_by_server(), self.fingerprints()
        if used and found.fingerprint not in used and len(found.keys) == 1:
            state = "is not set, but the orchestrators have one" if self._configured is None else "is not theirs"
            raise SettingsError(f"SECRET_KEY {state}: they would reject messages of this process")

    def fingerprints(self) -> dict[str, float]:
        """Return the secrets that processes started to use within a day: fingerprint -> time (seconds)."""
        oldest = self._clock.now_ms() / 1000 - REMEMBERED_SECONDS
        return {name: at for name, at in self._all_fingerprints().items() if at > oldest}

    def _all_fingerprints(self) -> dict[str, float]:
        [fields] = self._read([("HGETALL", self._keys.fingerprints())])
        return {name.decode(): float(at) for name, at in zip(fields[::2], fields[1::2], strict=True)}

    def _kept_by_server(self) -> GroupSecret:
        if self._kept is not None and monotonic() - self._looked_at < _LOOK_EVERY_SECONDS:
            return self._kept
        key = self._keys.secret()
        offered = self._offered or secrets.token_urlsafe(32)
        _, kept = self._read([("SET", key, offered, "NX"), ("GET", key)])
        if self._kept is None or kept.decode() != self._offered:
            self._offered = kept.decode()
            self._kept = GroupSecret(self._offered)
        self._looked_at = monotonic()
        return self._kept

    def _announce(self, secret: GroupSecret) -> None:
        key, now = self._keys.fingerprints(), self._clock.now_ms() // 1000
        known = self._all_fingerprints()
        outdated = [name for name, at in known.items() if at <= now - REMEMBERED_SECONDS]
        others = known.keys() - {secret.fingerprint, *outdated}
        forget = [("HDEL", key, *outdated)] if outdated else []
        self._read([*forget, ("HSET", key, secret.fingerprint, now)])
        if others and self._announced is None:
            logger.warning(
                "SECRET_KEY differs from that of another process started within a day: each rejects messages that the "
                "other signs. Set the same on all hosts"
            )
        if self._configured is None and self._announced is None:
            logger.warning(
                "SECRET_KEY is not set: the server stores one, and every client of the server can sign messages"
            )
        self._announced = secret.fingerprint
