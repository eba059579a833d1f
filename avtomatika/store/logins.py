"""Login sessions of the pages, and links to log in with. Only digests of their secrets are kept."""

from hashlib import sha256
from secrets import token_urlsafe

from .server_part import ServerPart

#: A link to log in with is valid for this time.
LINK_SECONDS = 300


class Logins(ServerPart):
    """Thread-safe."""

    def begin(self, digest: str, client: str, *, seconds: int) -> None:
        """Store a session of *client* that expires after *seconds*."""
        self._read([("SET", self._keys.login(digest), client, "EX", seconds)])

    def is_active(self, digest: str) -> bool:
        """Return True if the session exists and has not expired."""
        return bool(self._read([("EXISTS", self._keys.login(digest))])[0])

    def end(self, digest: str) -> None:
        """Delete the session."""
        self._read([("DEL", self._keys.login(digest))])

    # ------------------------------------------------------------ links

    def create_link(self, client: str, fingerprint: str) -> str:
        """Return the key of a link with which *client* can log in once, within five minutes. *fingerprint* is that of
        its token."""
        key = token_urlsafe(24)
        name = self._keys.login_link(sha256(key.encode()).hexdigest())
        self._read([("SET", name, f"{client} {fingerprint}", "EX", LINK_SECONDS)])
        return key

    def use_link(self, key: str) -> tuple[str, str] | None:
        """Return the client and the fingerprint of a link, and delete it; None if it was used or has expired."""
        [row] = self._read([("GETDEL", self._keys.login_link(sha256(key.encode()).hexdigest()))])
        if row is None:
            return None
        client, fingerprint = row.decode().split(" ")
        return client, fingerprint
