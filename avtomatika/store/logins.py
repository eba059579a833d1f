"""Login sessions of the dashboard. Only digests of their ids are kept."""

from avtomatika.transport import RedisClient

from .keys import Keys
from .scripts import read_all


class Logins:
    """Thread-safe."""

    def __init__(self, server: RedisClient, keys: Keys) -> None:
        self._server = server
        self._keys = keys

    def begin(self, digest: str, client: str, *, seconds: int) -> None:
        """Store a session of *client* that expires after *seconds*."""
        read_all(self._server, [("SET", self._keys.login(digest), client, "EX", seconds)])

    def is_active(self, digest: str) -> bool:
        """Return True if the session exists and has not expired."""
        return bool(read_all(self._server, [("EXISTS", self._keys.login(digest))])[0])

    def end(self, digest: str) -> None:
        """Delete the session."""
        read_all(self._server, [("DEL", self._keys.login(digest))])
