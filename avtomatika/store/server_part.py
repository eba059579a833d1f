"""Base of the store's classes that work on one server."""

from typing import Any, Self

from avtomatika.transport import RedisClient

from .keys import Keys


class ServerPart:
    """The client of one server, and the names of its keys."""

    def __init__(self, server: RedisClient) -> None:
        self._server = server
        self._keys = Keys()

    @classmethod
    def connect(cls, url: str, **options: Any) -> Self:
        """Return an instance with separate connections; nothing is sent yet. *options* are the constructor's."""
        return cls(RedisClient.connect(url), **options)

    def close(self) -> None:
        """Disconnect; the next call connects again."""
        self._server.close()
